import type { Clock } from "../../clock.ts";
import { mapConcurrent } from "../../domain/concurrency.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { FunctionTarget, Step } from "../../domain/manifest/plan.ts";
import type { FunctionService } from "./functions.ts";

/** The time in which trials of the functions of one manifest begin, in milliseconds: there may be thousands. */
const TRIALS_MS = 60_000;
/** The most functions that are tried out at the same time. */
const AT_ONCE = 4;

const NOT_TRIED = `The function was not tried: others of the manifest have taken over ${TRIALS_MS / 1000} s to start`;

interface TrialsDeps {
  readonly functions: Pick<FunctionService, "tryOut">;
  /** Returns a function as it is now; undefined if it was deleted. */
  readonly current: (id: string) => Function | undefined;
  readonly clock: Pick<Clock, "monotonic">;
  /** False if nothing is to be tried out. */
  readonly probe: boolean;
}

/** A function that a manifest has created or changed. */
interface Written {
  readonly name: string;
  readonly before?: Function;
  readonly after?: Function;
}

/**
 * Returns what is wrong with the functions that a manifest has created or changed, by their names in it: what the search for
 * their images has shown, and, as after a registration, why a web server does not start.
 */
export async function manifestWarnings(
  steps: readonly Step<Function, FunctionTarget>[],
  written: readonly Written[],
  { functions, current, clock, probe }: TrialsDeps,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, string[]>();
  const add = (name: string, warnings: readonly string[]) => found.set(name, [...(found.get(name) ?? []), ...warnings]);
  for (const step of steps) {
    const isWritten = step.action === "created" || step.action === "updated";
    if (isWritten && step.target.warning !== undefined) add(step.name, [step.target.warning]);
  }
  const end = clock.monotonic() + TRIALS_MS;
  const servers = written.filter(({ after }) => probe && after !== undefined && isBooted(after.contract));
  await mapConcurrent(servers, AT_ONCE, async ({ name, before, after }) => {
    const fn = after && current(after.id);
    if (fn === undefined) return;
    if (clock.monotonic() > end) return void add(name, [NOT_TRIED]);
    const { warnings = [] } = await functions.tryOut(before, fn);
    if (warnings.length > 0) add(name, warnings);
  });
  return found;
}

import { AppError } from "../errors.ts";
import { CELL_DEV_SHARE, CONTEXT_BYTES, GATE_RESERVE, MAX_CALLS, SCRATCH_SIZE } from "../limits.ts";
import { quoted } from "../quoted.ts";
import { type ContractName, isBooted } from "./contract.ts";

/** The parts of its surroundings that each call gets fresh, the strongest isolation first (lib/docs/pools-and-isolation.md, Isolation). */
export const ISOLATIONS = ["container", "cell", "process"] as const;
export type Isolation = (typeof ISOLATIONS)[number];

/** The settings that depend on each other: the last one belongs to cells alone. */
export interface IsolationSettings {
  readonly contract: ContractName;
  readonly isolation: Isolation;
  readonly max_calls: number;
  readonly scratch_bytes: number | null;
}

/** The settings of which memory is taken, in bytes; null for the default. */
interface Sizes {
  readonly memory_bytes: number;
  readonly context_bytes: number | null;
  readonly scratch_bytes: number | null;
}

/** A tmpfs of the size 0 would have no limit. */
const PAGE = 4096;

/** Returns the isolation of a record that was written before there was this setting: more than one call was reuse. */
export function isolationByCalls(max_calls: number): Isolation {
  return max_calls === 1 ? "container" : "process";
}

/**
 * Returns what follows from a change for those of the settings that it leaves out. `max_calls` alone chooses between a fresh
 * container and a fresh process, as it did before there was `isolation`, and leaves cells as they are; `isolation` alone takes
 * its own default for `max_calls`; what belongs to cells goes with them. What is started before its calls has a container of its
 * own, whose calls are counted all the same.
 */
export function isolationAfter(
  before: IsolationSettings,
  given: Partial<IsolationSettings>,
): Partial<Omit<IsolationSettings, "contract">> {
  const contract = given.contract ?? before.contract;
  // The number of calls of a server says nothing about those of another contract, and the other way round.
  const base = isBooted(contract) === isBooted(before.contract) ? before : ANEW;
  const isolation = given.isolation ?? (isBooted(contract) ? "container" : isolationFor(base, given.max_calls));
  const max_calls = given.max_calls ?? (isBooted(contract) ? base.max_calls : callsFor(base, isolation));
  return {
    ...(isolation !== before.isolation && { isolation }),
    ...(max_calls !== before.max_calls && { max_calls }),
    ...(given.scratch_bytes === undefined && isolation !== "cell" && before.scratch_bytes !== null
      ? { scratch_bytes: null }
      : {}),
  };
}

const ANEW = { isolation: "container", max_calls: MAX_CALLS.default } as const;

type Reuse = Pick<IsolationSettings, "isolation" | "max_calls">;

function isolationFor(before: Reuse, max_calls: number | undefined): Isolation {
  const same = max_calls === undefined || max_calls === before.max_calls;
  return same || before.isolation === "cell" ? before.isolation : isolationByCalls(max_calls);
}

function callsFor({ isolation, max_calls }: Reuse, after: Isolation): number {
  if (after === isolation) return max_calls;
  if (after === "container") return MAX_CALLS.default;
  return isolation === "container" ? MAX_CALLS.unlimited : max_calls;
}

/** Returns the fewest settings that make a function with these ones out of `before`: those that manifests had already if they do. */
export function isolationTo(before: IsolationSettings, after: IsolationSettings): Partial<Reuse> {
  const { isolation, max_calls } = after;
  const enough = [{}, { max_calls }, { isolation }].find((given) => {
    const made = { ...before, ...given, ...isolationAfter(before, given) };
    return made.isolation === isolation && made.max_calls === max_calls;
  });
  return enough ?? { isolation, max_calls };
}

/** Returns what is wrong with the isolation of a function, or nothing. */
export function isolationProblem({ contract, isolation, max_calls }: IsolationSettings): string | undefined {
  if (isBooted(contract)) {
    if (isolation === "container") return undefined;
    return (
      `"isolation" is ${quoted(isolation)}, and a function of the contract ${quoted(contract)} is a ${contract === "http" ? "server" : "program"} in a container of its own: ` +
      'leave "isolation" out, or give "container"; "max_calls" says how many calls one gets'
    );
  }
  if (isolation !== "container" || max_calls === 1) return undefined;
  return (
    `"isolation" is "container", which is a fresh container for each call, and "max_calls" is ${max_calls}: ` +
    'leave "max_calls" out, or give the isolation "cell" or "process"'
  );
}

/** Returns what is wrong with the scratch space of a function's cells, or nothing. */
export function scratchProblem(settings: IsolationSettings & Sizes): string | undefined {
  const { isolation, scratch_bytes, memory_bytes } = settings;
  if (scratch_bytes === null) return undefined;
  if (isolation !== "cell") {
    return (
      `"scratch_bytes" is ${scratch_bytes}, which only a cell has, and the isolation is ${quoted(isolation)}: ` +
      'give null, or the isolation "cell"'
    );
  }
  const most = mostScratch(settings);
  if (scratch_bytes <= most) return undefined;
  return (
    `"scratch_bytes" is ${scratch_bytes}, and beside the context of ${contextBytes(settings)} bytes at most ${most} fit into ` +
    `the "memory_bytes" of ${memory_bytes}: lower "scratch_bytes" or "context_bytes", or raise "memory_bytes"`
  );
}

/** Returns the size of a function's context, which counts as memory, so it must leave some. */
export function contextBytes({ context_bytes, memory_bytes }: Omit<Sizes, "scratch_bytes">): number {
  return context_bytes ?? Math.min(CONTEXT_BYTES, Math.floor(memory_bytes / 2));
}

/**
 * Returns the size of a cell's scratch space: by default a share of the memory, and at most half of what fits, so that
 * something is left for the function itself.
 */
export function scratchBytes(sizes: Sizes): number {
  const { scratch_bytes, memory_bytes } = sizes;
  const half = Math.floor(mostScratch(sizes) / 2);
  return scratch_bytes ?? Math.max(PAGE, Math.min(Math.floor(memory_bytes / SCRATCH_SIZE.share), half));
}

/** Returns the memory that the gate of a function's cells keeps for itself, in bytes. */
export function gateReserve(memory_bytes: number): number {
  return Math.min(GATE_RESERVE.most, Math.floor(memory_bytes / GATE_RESERVE.share));
}

/** Returns the largest scratch space that the memory has room for, beside the context, the cell's `/dev` and the gate. */
function mostScratch(sizes: Sizes): number {
  const left = sizes.memory_bytes - contextBytes(sizes) - gateReserve(sizes.memory_bytes);
  return Math.max(0, Math.floor(left / (1 + 1 / CELL_DEV_SHARE)));
}

/**
 * Returns the error for a body that asks for cells where the engine cannot make them; the cause is in plain words. The runtime
 * is null if the function names none.
 */
export function cellsRefused(cause: string, runtime: string | null): AppError {
  return new AppError(
    "invalid_request",
    `"isolation" cannot be "cell": this engine cannot make one${withRuntime(runtime)} (${cause}); give "container" for a fresh ` +
      `container for each call, or "process" for a fresh process in a reused one${runtime === null ? "" : ', or another "runtime"'}`,
  );
}

function withRuntime(runtime: string | null): string {
  return runtime === null ? "" : ` with the runtime ${quoted(runtime)}`;
}

/**
 * Returns the error for a call of a function with cells whose engine cannot make them, or no longer: it is never run with a
 * weaker isolation.
 */
export function cellsUnavailable(cause: string, runtime: string | null): AppError {
  return new AppError(
    "isolation_unavailable",
    `The function's isolation is "cell", and the engine cannot make one${withRuntime(runtime)} (${cause}): change the engine, or the function's ` +
      '"isolation" to "container" or "process"',
    { cause: new Error(cause) },
  );
}

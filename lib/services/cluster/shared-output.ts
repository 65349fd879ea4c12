import { AppError } from "../../domain/errors.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { History } from "../../store/history.ts";
import type { InvocationEvents } from "../calls/events.ts";
import type { HopCheck } from "./hop-signature.ts";

/** The path at which servers ask each other for the output of an invocation. */
export const OUTPUT_PATH = "/cluster/output";

interface SharedOutputDeps {
  readonly check: HopCheck;
  readonly events: () => Pick<InvocationEvents, "follow" | "output">;
  readonly history: Pick<History, "get" | "writtenElsewhere">;
}

/** The reader of the output of an attempt. */
interface OutputReader {
  /** `past` is true for what was printed before it came. */
  readonly pass: (entries: readonly LogEntry[], past: boolean) => void;
  readonly end: () => void;
}

/** Passes on what an invocation that runs here prints to a server where someone follows it. */
export class SharedOutput {
  readonly #deps: SharedOutputDeps;

  constructor(deps: SharedOutputDeps) {
    this.#deps = deps;
  }

  /** Throws `unauthorized` for a request that no other server has sent; returns the check of its body. */
  check(request: Request): (body: Uint8Array) => void {
    return this.#deps.check.check(request, OUTPUT_PATH);
  }

  /** Throws `conflict` unless an invocation runs here. */
  async requireHere(id: string): Promise<void> {
    const { history } = this.#deps;
    const [record, elsewhere] = await Promise.all([history.get(id), history.writtenElsewhere([id])]);
    if (record?.status !== "running" || elsewhere.length > 0)
      throw new AppError("conflict", `Invocation "${id}" does not run on this server`);
  }

  /** Passes on what an invocation has printed and prints until the end of its attempt. The returned function ends that. */
  follow(id: string, { pass, end }: OutputReader): () => void {
    const events = this.#deps.events();
    const printed = events.output(id);
    const unfollow = events.follow(id, (event) => {
      if (event.type === "log") return pass(event.entries, false);
      if (event.invocation.status !== "running" || event.elsewhere === true) end();
    });
    if (printed !== undefined) pass(printed, true);
    return unfollow;
  }
}

import { AppError } from "../../domain/errors.ts";
import type { Runner } from "../../runner/runner.ts";
import type { Clock } from "../../clock.ts";
import type { InvocationService } from "../calls/invocations.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { AcceptedCall } from "./wire/hop-answer.ts";
import { decodeCall, type HopCall } from "./wire/hop-message.ts";
import type { CheckedRequest, HopCheck } from "./hop-signature.ts";
import type { Members } from "./members.ts";

/** The time that a record has to be written together with others, in milliseconds, unless it is read at once. */
const TOGETHER_MS = 100;

interface ReceivedHopsDeps {
  readonly check: HopCheck;
  readonly members: Pick<Members, "takesCalls">;
  readonly functions: Pick<FunctionService, "get" | "at">;
  readonly invocations: Pick<InvocationService, "invoke" | "recorded">;
  readonly runner: Pick<Runner, "readyCalls" | "versionKey">;
  readonly version: string;
  readonly clock: Clock;
}

/** Runs the calls that other servers pass on, if there is an instance ready for them. */
export class ReceivedHops {
  readonly #deps: ReceivedHopsDeps;

  constructor(deps: ReceivedHopsDeps) {
    this.#deps = deps;
  }

  /** Throws `unauthorized` for a request that no other server has sent. */
  check(request: Request): CheckedRequest {
    return this.#deps.check.check(request);
  }

  /** Settles when a call has its instance. Throws if it cannot have one at once: then nothing of it is left here. */
  async run(message: Uint8Array, signal: AbortSignal): Promise<AcceptedCall> {
    // It only asks if this server is there.
    if (message.length === 0) throw new AppError("invalid_request", "This is a call without content");
    const { call, body } = decodeCall(message);
    const { clock, functions, invocations, members, runner } = this.#deps;
    if (!members.takesCalls) throw new AppError("shutting_down", "This server is about to stop");
    const { id, route_id, key_id, collect, reads_record, request } = call;
    const current = functions.get(call.function_id);
    const fn = functions.at(current, call.version);
    if (call.slipway !== this.#deps.version || fn?.updated_at !== call.updated_at) throw notKnown(call);
    const started = Promise.withResolvers<void>();
    const answering = invocations.invoke({
      id,
      target: { function: fn, route_id, key_id },
      request: { ...request, body },
      signal,
      ready_only: true,
      onStart: started.resolve,
      ...(collect && { collect }),
    });
    await Promise.race([started.promise, answering]);
    const recorded = async () => {
      if (!reads_record) await new Promise<void>((resolve) => void clock.after(TOGETHER_MS, resolve));
      await invocations.recorded(id);
    };
    return { answering, readyCalls: runner.readyCalls[runner.versionKey(fn)] ?? 0, recorded };
  }
}

/** Servers see a change one after the other. */
function notKnown({ function_id, version }: HopCall): AppError {
  const message = `Version ${version} of the function ${function_id} is another one here: the server that has passed the call on makes it itself`;
  return new AppError("conflict", message);
}

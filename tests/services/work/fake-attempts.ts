import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { AppError } from "../../../lib/domain/errors.ts";
import { RETRY_DEFAULT } from "../../../lib/domain/functions/retry.ts";
import type { AttemptMaker, AttemptResult, Task } from "../../../lib/services/work/attempts.ts";

/** Attempts that end as the test chooses. */
export class FakeAttempts implements AttemptMaker {
  available = true;
  /** Does not hear that an attempt is to end. */
  deaf = false;
  places = 10;
  readonly tasks: Task[] = [];
  /** The invocations whose attempts are in the metrics. */
  readonly counted: string[] = [];
  readonly #ends = new Map<string, PromiseWithResolvers<AttemptResult>>();

  get running(): string[] {
    return [...this.#ends.keys()];
  }

  room(): number {
    return Math.max(0, this.places - this.#ends.size);
  }

  retryOf() {
    return RETRY_DEFAULT;
  }

  run(task: Task): Promise<AttemptResult> {
    const { id } = task.invocation;
    // This must never happen: an invocation that runs twice at the same time.
    if (this.#ends.has(id)) throw new Error(`${id} runs already`);
    const end = Promise.withResolvers<AttemptResult>();
    this.tasks.push(task);
    this.#ends.set(id, end);
    task.signal.addEventListener("abort", () => this.deaf || this.end(id, { status: "cancelled" }));
    return end.promise.finally(() => this.#ends.delete(id));
  }

  end(
    id: string,
    ending: Partial<AttemptResult> & { status?: AttemptResult["finished"]["status"]; reason?: Invocation["reason"] },
  ) {
    const { status = "succeeded", reason = null, ...rest } = ending;
    this.#ends.get(id)?.resolve({
      finished: { status, fields: { reason, exit_code: status === "succeeded" ? 0 : 1 } },
      response: Buffer.from("{}"),
      response_meta: null,
      logs: [],
      wish: {},
      lost: false,
      gone: Promise.resolve(),
      count: () => this.counted.push(id),
      ...rest,
    });
  }

  fail(id: string, error: AppError) {
    this.#ends.get(id)?.reject(error);
  }
}

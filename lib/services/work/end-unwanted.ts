import { AppError } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Ledger } from "../../store/ledger.ts";
import type { Running } from "./attempts.ts";

/** Ends an attempt because its invocation was cancelled. */
export function cancelAttempt(running: Running): void {
  running.cancelled = true;
  running.abort.abort(new AppError("cancelled", "The invocation was cancelled"));
}

/**
 * Ends those of the attempts that were cancelled on other servers, or whose leases are lost: after a server was frozen, others
 * may make the next attempt.
 */
export async function endUnwanted(
  attempts: ReadonlyMap<string, Running>,
  { ledger, log }: { readonly ledger: Pick<Ledger, "toEnd">; readonly log: Logger },
): Promise<void> {
  if (attempts.size === 0) return;
  const made = [...attempts.values()].map(({ work: { invocation_id, attempts: attempt } }) => ({
    invocation_id,
    attempt,
  }));
  const { cancelled, lost } = await ledger.toEnd(made);
  for (const id of cancelled) {
    const running = attempts.get(id);
    if (running !== undefined) cancelAttempt(running);
  }
  for (const request_id of lost) {
    // Its end may just have been written.
    const running = attempts.get(request_id);
    if (running === undefined || running.abort.signal.aborted) continue;
    log.warn("an attempt has lost its lease, and is ended", { request_id, attempt: running.work.attempts });
    running.abort.abort(new AppError("shutting_down", "The attempt has lost its lease"));
  }
}

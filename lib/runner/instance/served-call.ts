import type { Clock } from "../../clock.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { Reason } from "../../domain/errors.ts";
import type { ExitFrame } from "../gate-protocol/frames.ts";
import type { InstanceStream } from "../gate-protocol/instance-stream.ts";
import type { EarlierOutput } from "./idle-output.ts";
import { LiveLogs } from "./live-logs.ts";
import { LogCollector } from "./log-collector.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import { cancelled, failed, finished, type Outcome, type RunFacts, timedOut, usageOf } from "./outcome.ts";
import type { Dialogue, StreamAnswer, StreamCall } from "./stream-exchange.ts";

type Stream = LogEntry["stream"];

/** The facts of an instance that its calls have in their records. */
interface Surroundings {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds since some moment. */
  readonly monotonic: () => number;
  readonly secrets: readonly string[];
  readonly command: readonly string[];
  readonly earlier: EarlierOutput;
  /** At the first call of an instance: the time that it took to boot. */
  readonly boot_ms: number | undefined;
}

/** The end of a call on a booted instance. */
type Verdict = { readonly kind: "answered" | "timed_out" | "cancelled" } | Failure;
interface Failure {
  readonly kind: "failed";
  readonly reason: Reason;
  readonly message: string;
}

/** A call that a booted instance serves: its output, its answer, and the promises of both. */
export class ServedCall {
  readonly #facts: RunFacts;
  readonly #surroundings: Surroundings;
  readonly #onLogs: StreamCall["onLogs"];
  /** Made with the first output: many calls print nothing. */
  #live: LiveLogs | undefined;
  readonly #began: number;
  readonly #outcome = Promise.withResolvers<Outcome>();
  readonly #over = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Outcome>();
  readonly #reusable = Promise.withResolvers<boolean>();
  #answer: StreamAnswer | undefined;
  #firstByteMs: number | undefined;
  readonly #lines: StreamCall["lines"];
  /** The memory that the instance has taken until the end of the call, where that was measured then. */
  #peak: number | null = null;
  #reported = false;
  #verdict: Verdict | undefined;
  /** The verdict on a call whose answer is complete while its function is still at it. */
  #delivered: Verdict | undefined;
  /** The pieces of output that have come. */
  #pieces = 0;
  /** The outcome at the verdict, and the pieces of output that it has. */
  #judgement: { readonly outcome: Outcome; readonly pieces: number } | undefined;
  dialogue: Dialogue | undefined;
  /** The stream to the function, if the call has one of its own. */
  stream: InstanceStream | undefined;

  constructor(
    { timeout_ms, onLogs, lines }: Pick<StreamCall, "timeout_ms" | "onLogs" | "lines">,
    surroundings: Surroundings,
  ) {
    const { now, monotonic, secrets, command, earlier } = surroundings;
    this.#surroundings = surroundings;
    this.#began = monotonic();
    this.#facts = { logs: new LogCollector(now, secrets), timeout_ms, response_limit: Infinity, command };
    this.#onLogs = onLogs;
    if (earlier.entries.length > 0) onLogs?.(earlier.entries);
    this.#lines = lines;
    if (lines) this.log("stdout", Buffer.from(lines.first));
  }

  get outcome(): Promise<Outcome> {
    return this.#outcome.promise;
  }

  get over(): Promise<void> {
    return this.#over.promise;
  }

  get ended(): Promise<Outcome> {
    return this.#ended.promise;
  }

  get reusable(): Promise<boolean> {
    return this.#reusable.promise;
  }

  /** True if it is decided how the call has ended. */
  get isOver(): boolean {
    return this.#verdict !== undefined;
  }

  /** True if it has lasted for longer than it may. */
  get isLate(): boolean {
    return this.#surroundings.monotonic() - this.#began >= this.#facts.timeout_ms;
  }

  log(stream: Stream, bytes: Uint8Array): void {
    const at = this.#surroundings.now();
    this.#pieces++;
    this.#facts.logs.add(stream, bytes, at);
    if (this.#onLogs) this.#live ??= new LiveLogs(this.#surroundings.secrets, this.#onLogs);
    this.#live?.add(stream, bytes, at);
  }

  /** Takes output beyond the limit, which was read so many milliseconds ago. */
  logTail(stream: Stream, bytes: Uint8Array, ageMs: number): void {
    this.#pieces++;
    this.#facts.logs.addTail(stream, bytes, this.#surroundings.now() - ageMs);
  }

  /** Takes the head of the answer. Its caller gets it now, or at the end if the body is whole by then. */
  answered(answer: StreamAnswer): void {
    this.#answer = answer;
    for (const line of answer.notes ?? []) this.#facts.logs.note(`slipway: ${line}\n`);
    this.#firstByteMs = this.#surroundings.monotonic() - this.#began;
    if (!(answer.response.body instanceof Uint8Array)) this.#outcome.resolve(this.#outcomeNow({ kind: "answered" }));
  }

  /** Gives the caller its answer, which is complete: nothing that comes later changes how the call has ended. */
  deliver(failure?: Omit<Failure, "kind">): void {
    if (this.#verdict !== undefined) return;
    this.#delivered ??= failure === undefined ? { kind: "answered" } : { kind: "failed", ...failure };
    this.#outcome.resolve(this.#outcomeNow(this.#delivered));
  }

  /** Takes the memory that the instance has taken, and adds the contract's last lines to the log. */
  report(peakBytes: number | null, exit?: ExitFrame): void {
    if (this.#lines === undefined || this.#reported) return;
    this.#reported = true;
    this.#peak = peakBytes;
    const verdict = this.#verdict ?? this.#delivered ?? { kind: "answered" };
    const { status, reason, exit_code, signal } = this.#judged(verdict, exit ? usageOf(exit) : {});
    const run_ms = this.#surroundings.monotonic() - this.#began;
    const { boot_ms } = this.#surroundings;
    const end = { status, reason, exit_code, signal, run_ms, boot_ms, peak_memory_bytes: peakBytes };
    this.log("stdout", Buffer.from(this.#lines.last(end)));
  }

  /** Decides how the call has ended, and answers its caller unless it has an answer. Only the first verdict counts. */
  end(last: Verdict, exit?: ExitFrame): void {
    if (this.#verdict !== undefined) return;
    const verdict = this.#delivered ?? last;
    this.#verdict = verdict;
    this.#live?.end();
    const outcome = this.#outcomeNow(verdict, exit);
    this.#judgement = { outcome, pieces: this.#pieces };
    this.#outcome.resolve(outcome);
  }

  /**
   * Settles whether the instance takes more calls, and the end of the record once all output has come; then calls `onQuiet`. The gate
   * sends what the function has printed in front of its last word about the stream.
   */
  close(reusable: boolean, onQuiet: () => void): void {
    this.#close(reusable);
    const complete = () => {
      this.#complete();
      onQuiet();
    };
    if (this.stream === undefined) complete();
    else this.stream.whenOver(complete);
  }

  /** The same for a call whose instance has ended. */
  finish(exit?: ExitFrame, endedByUs = false): void {
    this.#close(false, exit);
    this.#complete(exit, endedByUs);
  }

  #close(reusable: boolean, exit?: ExitFrame): void {
    this.end({ kind: "cancelled" });
    this.report(exit?.peakBytes ?? null, exit);
    this.#over.resolve();
    this.#reusable.resolve(reusable);
  }

  #complete(exit?: ExitFrame, endedByUs = false): void {
    // A function that goes on has usually said all by now: then there is nothing to add to the record.
    const isKnown = exit === undefined && this.#judgement?.pieces === this.#pieces;
    const known = isKnown ? this.#judgement?.outcome : undefined;
    this.#ended.resolve(known ?? this.#outcomeNow(this.#verdict ?? { kind: "cancelled" }, exit, endedByUs));
  }

  #outcomeNow(verdict: Verdict, exit?: ExitFrame, endedByUs = false): Outcome {
    const { boot_ms, earlier } = this.#surroundings;
    const usage = exit && usageOf(exit);
    const ended = endedByUs ? { ...usage, exit_code: null, signal: null } : usage;
    const outcome = this.#judged(verdict, {
      ...ended,
      ...(this.#peak !== null && { peak_memory_bytes: this.#peak }),
      response_bytes: this.dialogue?.response_bytes ?? null,
    });
    return {
      ...outcome,
      ...(boot_ms !== undefined && { boot_ms }),
      ...(this.#firstByteMs !== undefined && { first_byte_ms: this.#firstByteMs }),
      sent_bytes: this.dialogue?.sent_bytes ?? 0,
      logs: earlier.entries.length === 0 ? outcome.logs : [...earlier.entries, ...outcome.logs],
      log_bytes: earlier.bytes + outcome.log_bytes,
    };
  }

  #judged(verdict: Verdict, known: Partial<Outcome>): Outcome {
    const facts = this.#facts;
    switch (verdict.kind) {
      case "timed_out":
        return { ...timedOut(facts), ...known };
      case "cancelled":
        return { ...cancelled(facts), ...known };
      case "failed":
        return failed(facts, verdict.reason, verdict.message, known);
      case "answered": {
        const unknown = { exit_code: null, signal: null, cpu_ms: null, peak_memory_bytes: null, response_bytes: null };
        const { status, reason, message, wish, response } = this.#answer ?? NO_ANSWER;
        return finished(facts, { ...unknown, log_dropped_bytes: 0, ...known, status, reason, message, wish, response });
      }
    }
  }
}

const NO_ANSWER = { status: "failed", reason: "internal", message: null, wish: {}, response: null } as const;

/** The time in which the end of an app that has closed a connection is reported, if that was the reason. */
const DEATH_MS = 100;

/** Returns the failure of a call whose connection was closed: by the end of the function, if that is reported at once. */
export async function explainedBy(
  exit: Promise<ExitFrame | undefined>,
  message: string,
  clock: Pick<Clock, "after">,
): Promise<Pick<Failure, "reason" | "message">> {
  const waited = Promise.withResolvers<undefined>();
  const cancel = clock.after(DEATH_MS, () => waited.resolve(undefined));
  const known = await Promise.race([exit, waited.promise]);
  cancel();
  return lostAnswer(message, known);
}

/** Returns the failure of a call whose connection was closed, by the end of the function if that is known. */
export function lostAnswer(message: string, exit?: ExitFrame): Pick<Failure, "reason" | "message"> {
  if (exit === undefined) return { reason: "invalid_response", message: `${message}: see its logs` };
  if (exit.oomKills > 0) return { reason: "out_of_memory", message: OUT_OF_MEMORY };
  const how = exit.signal === 0 ? `exited with code ${exit.exitCode}` : `was ended by signal ${exit.signal}`;
  return { reason: "invalid_response", message: `The function ${how} before its answer was complete: see its logs` };
}

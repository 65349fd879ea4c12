import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { ExitFrame, GateExtras, GateFrame } from "../gate-protocol/frames.ts";
import { LiveLogs, type TailPiece } from "./live-logs.ts";
import { LogCollector } from "./log-collector.ts";
import type { AnswerFiles, Outcome, RunFacts } from "./outcome.ts";

/** A call in the terms of a contract: what the gate is sent, and how its report is read. */
export interface Exchange {
  readonly body: Uint8Array;
  /** True if the function also finds the body as `request.body`. */
  readonly body_file: boolean;
  /** True if the function reads the body while it runs, and its output is the response. */
  readonly streamed?: boolean;
  /** Variables and files of this call only. */
  readonly extras: GateExtras;
  /** Values that are masked in everything that is reported of the call. */
  readonly secrets: readonly string[];
  /** Judges a function that has ended. */
  readonly judge: (exit: ExitFrame, files: AnswerFiles, facts: RunFacts) => Outcome;
}

/** A call as an instance is handed it. */
export interface InstanceCall extends Exchange {
  readonly id: string;
  /** Called with the function's output as it comes. */
  readonly onLogs?: (entries: readonly LogEntry[]) => void;
  readonly timeout_ms: number;
  readonly response_limit: number;
  readonly log_limit: number;
  /** True if the instance may serve another call after this one. */
  readonly again: boolean;
  readonly context_root: string;
  /** Aborts when nobody waits for the answer any longer: the function is killed. */
  readonly signal: AbortSignal;
}

/** The call that an instance is serving: what its frames have said so far, and the promises of its answer. */
export class ActiveCall {
  readonly facts: RunFacts;
  readonly judge: Exchange["judge"];
  readonly #onLogs: InstanceCall["onLogs"];
  readonly #secrets: readonly string[];
  #live: LiveLogs | undefined;
  readonly #outcome = Promise.withResolvers<Outcome>();
  readonly #ended = Promise.withResolvers<Outcome>();
  readonly #reusable = Promise.withResolvers<boolean>();
  readonly #now: () => number;
  readonly #began: number;
  /** The end of the output beyond the limit, until it is known how much is missing before it. */
  readonly #tail: TailPiece[] = [];
  exit: ExitFrame | undefined;
  answered = false;

  /** `now` returns milliseconds since 1970. */
  constructor(call: InstanceCall, command: readonly string[], now: () => number) {
    this.#now = now;
    this.#began = now();
    this.facts = {
      logs: new LogCollector(now, call.secrets),
      timeout_ms: call.timeout_ms,
      response_limit: call.response_limit,
      command,
    };
    this.judge = call.judge;
    this.#onLogs = call.onLogs;
    this.#secrets = call.secrets;
  }

  get outcome(): Promise<Outcome> {
    return this.#outcome.promise;
  }

  get ended(): Promise<Outcome> {
    return this.#ended.promise;
  }

  get reusable(): Promise<boolean> {
    return this.#reusable.promise;
  }

  /** Settles `reusable`: whether the instance can serve another call. */
  reset(reusable: boolean): void {
    this.#reusable.resolve(reusable);
  }

  take(frame: GateFrame): void {
    if (frame.type === "log") {
      const at = this.#now();
      this.facts.logs.add(frame.stream, frame.bytes, at);
      if (this.#onLogs) this.#live ??= new LiveLogs(this.#secrets, this.#onLogs);
      this.#live?.add(frame.stream, frame.bytes, at);
    } else if (frame.type === "tail") {
      const { stream, bytes, age_ms } = frame;
      const at = Math.max(this.#began, this.#now() - age_ms);
      this.facts.logs.addTail(stream, bytes, at);
      if (this.#live) this.#tail.push({ stream, bytes, at });
    } else if (frame.type === "exit") {
      this.exit = frame;
      this.#endLive(frame);
    }
  }

  #endLive({ logDroppedBytes }: ExitFrame): void {
    const told = this.#tail.reduce((bytes, piece) => bytes + piece.bytes.length, 0);
    this.#live?.addTail(this.#tail, Math.max(0, logDroppedBytes - told));
  }

  /** Gives the caller its answer, or a promise of one. Only the first call counts. */
  answer(outcome: Outcome | Promise<Outcome>, ended: Promise<Outcome>): void {
    this.answered = true;
    this.#live?.end();
    this.#outcome.resolve(outcome);
    this.#ended.resolve(ended);
  }
}

import type { Clock } from "../../clock.ts";
import type { FunctionResponse, MessageBody } from "../../domain/calls/http-message.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { ExitFrame, GateExtras, GateFrame } from "../gate-protocol/frames.ts";
import type { Upload } from "../gate-protocol/upload.ts";
import { LiveLogs, type TailPiece } from "./live-logs.ts";
import { LogCollector } from "./log-collector.ts";
import { type AnswerFiles, NOTHING_KNOWN, type Outcome, type RunFacts } from "./outcome.ts";
import type { OutputListener, OutputReader, ReadOutput } from "./output-reader.ts";

/** A call in the terms of a contract: what the gate is sent, and how its report is read. */
export interface Exchange {
  /** One that is still arriving only with `readOutput`. */
  readonly body: MessageBody;
  /** True if the function also finds the body as `request.body`. */
  readonly body_file: boolean;
  /** Variables and files of this call only. */
  readonly extras: GateExtras;
  /** Values that are masked in everything that is reported of the call. */
  readonly secrets: readonly string[];
  /** Judges a function that has ended and left its answer in files; in place of `readOutput`. */
  readonly judge?: (exit: ExitFrame, files: AnswerFiles, facts: RunFacts) => Outcome;
  /** Begins to read the answer of a function that prints it, and reads the body while it runs. */
  readonly readOutput?: ReadOutput;
  /** The most bytes of an answer, in place of the server's limit. */
  readonly response_limit?: number;
}

/** A call as an instance is handed it. */
export interface InstanceCall extends Exchange {
  readonly id: string;
  /** Called with the function's output as it comes. */
  readonly onLogs?: (entries: readonly LogEntry[]) => void;
  readonly timeout_ms: number;
  /** The moment of the clock (`monotonic`) by which the function must have the request; without it, any. */
  readonly by?: number;
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
  readonly #judge: Exchange["judge"];
  readonly #onLogs: InstanceCall["onLogs"];
  readonly #secrets: readonly string[];
  #live: LiveLogs | undefined;
  readonly #outcome = Promise.withResolvers<Outcome>();
  readonly #ended = Promise.withResolvers<Outcome>();
  readonly #reusable = Promise.withResolvers<boolean>();
  readonly #clock: Pick<Clock, "now" | "monotonic">;
  readonly #began: number;
  readonly #handedOver: number;
  /** Of a streamed call. */
  #output: OutputReader | undefined;
  #firstByteMs: number | undefined;
  /** The body of the request, while it is arriving. */
  upload: Upload | undefined;
  /** The end of the output beyond the limit, until it is known how much is missing before it. */
  readonly #tail: TailPiece[] = [];
  exit: ExitFrame | undefined;
  /** True if it is decided how the call has ended. Its caller may have the head of the answer before. */
  answered = false;

  constructor(call: InstanceCall, command: readonly string[], clock: Pick<Clock, "now" | "monotonic">) {
    this.#clock = clock;
    this.#began = clock.now();
    this.#handedOver = clock.monotonic();
    this.facts = {
      logs: new LogCollector(() => clock.now(), call.secrets),
      timeout_ms: call.timeout_ms,
      response_limit: call.response_limit,
      command,
    };
    this.#judge = call.judge;
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
      const at = this.#clock.now();
      this.facts.logs.add(frame.stream, frame.bytes, at);
      if (this.#onLogs) this.#live ??= new LiveLogs(this.#secrets, this.#onLogs);
      this.#live?.add(frame.stream, frame.bytes, at);
    } else if (frame.type === "tail") {
      const { stream, bytes, age_ms } = frame;
      const at = Math.max(this.#began, this.#clock.now() - age_ms);
      this.facts.logs.addTail(stream, bytes, at);
      if (this.#live) this.#tail.push({ stream, bytes, at });
    } else if (frame.type === "data") {
      this.#firstByteMs ??= this.#clock.monotonic() - this.#handedOver;
      this.#output?.push(frame.bytes);
    } else if (frame.type === "exit") {
      this.exit = frame;
      this.#endLive(frame);
    }
  }

  #endLive({ logDroppedBytes }: ExitFrame): void {
    const told = this.#tail.reduce((bytes, piece) => bytes + piece.bytes.length, 0);
    this.#live?.addTail(this.#tail, Math.max(0, logDroppedBytes - told));
  }

  /** Begins to read what the function prints as its answer. */
  readOutput(read: ReadOutput, listener: Omit<OutputListener, "begun">): void {
    this.#output = read(this.facts, { ...listener, begun: (response) => this.#begin(response) });
  }

  /** Judges a function that has ended. */
  judge(exit: ExitFrame, files: AnswerFiles): Outcome {
    const outcome = this.#output?.judge(exit) ?? this.#judge?.(exit, files, this.facts);
    if (outcome === undefined) throw new Error("A call is by files, or by streams");
    return outcome;
  }

  /**
   * Gives the caller its answer, or a promise of one; `ended` is the last outcome, if that comes later. Only the first call counts.
   */
  answer(outcome: Outcome | Promise<Outcome>, ended: Outcome | Promise<Outcome> = outcome): void {
    this.answered = true;
    this.upload?.stop();
    this.#live?.end();
    if (outcome instanceof Promise) this.#output?.fail(new Error("The function's container ended"));
    else if (outcome.status !== "succeeded") this.#output?.fail(new Error(outcome.message ?? outcome.status));
    const told = this.#told(outcome);
    this.#outcome.resolve(told);
    this.#ended.resolve(ended === outcome ? told : this.#told(ended));
  }

  #told(outcome: Outcome | Promise<Outcome>): Outcome | Promise<Outcome> {
    if (this.#output === undefined) return outcome;
    return outcome instanceof Promise ? outcome.then((one) => this.#withStreams(one)) : this.#withStreams(outcome);
  }

  /** Adds what is known of the streams. */
  #withStreams(outcome: Outcome): Outcome {
    return {
      ...outcome,
      ...(this.#firstByteMs !== undefined && { first_byte_ms: this.#firstByteMs }),
      ...(this.upload !== undefined && { sent_bytes: this.upload.bytes }),
    };
  }

  /** Gives the caller the head of its answer. The verdict follows. */
  #begin(response: FunctionResponse): void {
    const answer = { status: "succeeded", reason: null, message: null, wish: {}, response } as const;
    this.#outcome.resolve(this.#withStreams({ ...NOTHING_KNOWN, ...answer, logs: [], log_bytes: 0 }));
  }
}

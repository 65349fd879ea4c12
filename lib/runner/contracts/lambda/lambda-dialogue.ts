import type { Clock } from "../../../clock.ts";
import { ArrivingBody } from "../../gate-protocol/arriving-body.ts";
import type { InstanceStream } from "../../gate-protocol/instance-stream.ts";
import type { AnswerListener, Dialogue } from "../../instance/stream-exchange.ts";
import { type ErrorReport, readReport } from "./errors.ts";
import type { EventForm } from "./event.ts";

/** The time from an answer to the request for the next call, in milliseconds: telemetry gets out, and open work ends. */
const NEXT_MS = 2_000;

/** A call as a runtime is told of it. */
export interface LambdaCall {
  readonly id: string;
  readonly event: Uint8Array;
  readonly form: EventForm;
  /** The headers of the event, without the id and the deadline. Those without a value are left out. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly timeout_ms: number;
}

/** One call: from the event to the request for the next one. Nothing follows `stop()`, and nothing its end. */
export class LambdaDialogue implements Dialogue {
  readonly call: LambdaCall;
  readonly #listener: AnswerListener;
  readonly #clock: Clock;
  readonly #onOver: () => void;
  #arriving: ArrivingBody | undefined;
  #cancelTail: () => void = () => undefined;
  #over = false;
  #delivered = false;
  sent_bytes = 0;
  response_bytes = 0;

  /** `onOver` is called when the instance is done with the call. */
  constructor(call: LambdaCall, listener: AnswerListener, clock: Clock, onOver: () => void) {
    this.call = call;
    this.#listener = listener;
    this.#clock = clock;
    this.#onOver = onOver;
  }

  /** True if the whole answer is there. */
  get isDelivered(): boolean {
    return this.#delivered;
  }

  stop(error: Error): void {
    if (this.#finish()) this.#arriving?.fail(error);
  }

  /** Takes a whole answer. */
  succeed(payload: Uint8Array): void {
    if (this.#over) return;
    this.response_bytes = payload.length;
    const response = this.call.form.response({ kind: "payload", payload });
    this.#listener.answered({ status: "succeeded", reason: null, message: null, wish: {}, response });
    this.#deliver();
  }

  /** Takes the function's report that it has failed. */
  fail(header: string | undefined, payload: Uint8Array): void {
    if (this.#over) return;
    this.response_bytes = payload.length;
    const { error_type, message } = readReport(header, payload);
    const response = this.call.form.response({ kind: "error", payload, error_type });
    this.#listener.answered({ ...failure(message), wish: {}, response });
    this.#deliver();
  }

  /** Takes the beginning of an answer that streams. Each piece is passed on as its reader takes it. */
  begin(stream: InstanceStream, content_type: string | null): void {
    if (this.#over) return;
    this.#arriving = new ArrivingBody(stream, () => this.#listener.left());
    const response = this.call.form.response({ kind: "stream", payload: this.#arriving.stream, content_type });
    this.#listener.answered({ status: "succeeded", reason: null, message: null, wish: {}, response });
  }

  /** Takes a piece of an answer that streams. Returns whether it keeps the bytes, and tells the stream when they have gone. */
  push(bytes: Uint8Array): boolean {
    if (this.#over) return false;
    this.response_bytes += bytes.length;
    this.#arriving?.push(bytes);
    return true;
  }

  /** Takes the end of an answer that streams: its trailers may report an error. */
  end(report?: ErrorReport): void {
    if (this.#over) return;
    if (report === undefined) this.#arriving?.end();
    else this.#arriving?.fail(new Error(report.message));
    this.#deliver(report && failure(report.message));
  }

  /** An answer that was too long, or did not come to its end. The instance is done for. */
  refuse(reason: "response_too_large" | "invalid_response", message: string): void {
    if (!this.#finish()) return;
    this.#arriving?.fail(new Error(message));
    this.#listener.failed({ reason, message, lost: reason === "invalid_response" });
  }

  /** The runtime has asked for the next call. */
  next(): void {
    if (this.#finish()) this.#listener.ended();
  }

  #deliver(failed?: ReturnType<typeof failure>): void {
    this.#delivered = true;
    this.#listener.delivered(failed);
    if (this.#over) return;
    this.#cancelTail = this.#clock.after(NEXT_MS, () => {
      if (this.#finish()) this.#listener.ended(true);
    });
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#cancelTail();
    this.#onOver();
    return true;
  }
}

function failure(message: string) {
  return { status: "failed", reason: "function_failed", message: `The function has failed: ${message}` } as const;
}

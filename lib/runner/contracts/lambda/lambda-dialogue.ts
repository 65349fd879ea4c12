import type { Clock } from "../../../clock.ts";
import { ArrivingBody } from "../../gate-protocol/arriving-body.ts";
import type { InstanceStream } from "../../gate-protocol/instance-stream.ts";
import type { FunctionError } from "../../../domain/lambda/function-error.ts";
import type { AnswerListener, Dialogue, StreamAnswer } from "../../instance/stream-exchange.ts";
import type { Malformed } from "../../../domain/lambda/function-url-response.ts";
import type { StreamPrelude } from "../../../domain/lambda/stream-prelude.ts";
import { type ErrorReport, readReport } from "./errors.ts";
import type { EventForm, FormedResponse, LambdaAnswer } from "./event.ts";

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
  /** Of an answer that streams: it begins with a head, which is not complete. */
  #beginning: { readonly stream: InstanceStream; readonly prelude: StreamPrelude } | undefined;
  #cancelTail: () => void = () => undefined;
  #over = false;
  #delivered = false;
  sent_bytes = 0;
  response_bytes = 0;
  /** The type of the error of an extension that has kept the call from its answer. */
  crashed: string | undefined;

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
    if ("problem" in response) return this.#misunderstand(response);
    this.#say(SUCCESS, response);
    this.#deliver();
  }

  /** Takes the function's report that it has failed. */
  fail(header: string | undefined, payload: Uint8Array): void {
    if (this.#over) return;
    this.response_bytes = payload.length;
    const { error_type, message } = readReport(header, payload);
    const response = this.call.form.response({ kind: "error", payload, error_type });
    if ("problem" in response) return this.#misunderstand(response);
    this.#say({ ...failure(message), wish: {} }, response);
    this.#deliver();
  }

  /** Takes the beginning of an answer that streams. Each piece is passed on as its reader takes it. */
  begin(stream: InstanceStream, content_type: string | null): void {
    if (this.#over) return;
    const prelude = this.call.form.prelude?.(content_type);
    if (prelude === undefined) this.#begin(stream, { content_type });
    else this.#beginning = { stream, prelude };
  }

  #begin(stream: InstanceStream, said: Pick<LambdaAnswer & { kind: "stream" }, "content_type" | "head">): ArrivingBody {
    const body = (this.#arriving = new ArrivingBody(stream, () => this.#listener.left()));
    const response = this.call.form.response({ kind: "stream", payload: body.stream, ...said });
    if ("problem" in response) this.#misunderstand(response);
    else this.#say(SUCCESS, response);
    return body;
  }

  /** Takes a piece of an answer that streams. Returns whether it keeps the bytes, and tells the stream when they have gone. */
  push(bytes: Uint8Array): boolean {
    if (this.#over) return false;
    if (this.#beginning !== undefined) return this.#readHead(bytes, this.#beginning);
    this.response_bytes += bytes.length;
    this.#arriving?.push(bytes);
    return true;
  }

  #readHead(bytes: Uint8Array, { stream, prelude }: { stream: InstanceStream; prelude: StreamPrelude }): boolean {
    const read = prelude.push(bytes);
    if (read === undefined) return false;
    this.#beginning = undefined;
    if ("problem" in read) {
      this.#misunderstand(read);
      return false;
    }
    const { head, body } = read;
    const arriving = this.#begin(stream, { content_type: null, head });
    if (body.length === 0) return false;
    // The head is used up here; what follows it in the piece is not.
    stream.consumed(bytes.length - body.length);
    this.response_bytes += body.length;
    arriving.push(body);
    return true;
  }

  /** Takes the end of an answer that streams: its trailers may report an error. */
  end(report?: ErrorReport): void {
    if (this.#over) return;
    if (this.#beginning !== undefined) return this.#endInHead(this.#beginning.prelude, report);
    if (report === undefined) this.#arriving?.end();
    else this.#arriving?.fail(new Error(report.message));
    this.#deliver(report && failure(report.message));
  }

  #endInHead(prelude: StreamPrelude, report?: ErrorReport): void {
    this.#beginning = undefined;
    if (report === undefined) return this.#misunderstand(prelude.close());
    this.fail(
      report.error_type,
      Buffer.from(JSON.stringify({ errorType: report.error_type, errorMessage: report.message })),
    );
  }

  #say(answer: Omit<StreamAnswer, "response" | "notes">, { dropped = [], ...response }: FormedResponse): void {
    this.#listener.answered({ ...answer, response, notes: dropped });
  }

  /** Takes an answer of which no response can be made. */
  #misunderstand({ problem }: Malformed): void {
    this.refuse("invalid_response", `The function's answer ${problem}`);
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

  /** Takes a failure beside the runtime, which is not over its answer: an extension has failed. The instance is done for. */
  crash(message: string, document: FunctionError): void {
    if (this.#over) return;
    if (!this.#delivered) this.crashed = document.errorType;
    if (this.#arriving === undefined && !this.#delivered) {
      const payload = Buffer.from(JSON.stringify(document));
      const response = this.call.form.response({ kind: "error", payload, error_type: document.errorType });
      if (!("problem" in response)) this.#say({ ...failure(message), wish: {} }, { ...response, status: 502 });
    } else if (!this.#delivered) {
      this.#arriving?.fail(new Error(message));
      this.#listener.delivered(failure(message));
    }
    if (this.#finish()) this.#listener.ended(true);
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

const SUCCESS = { status: "succeeded", reason: null, message: null, wish: {} } as const;

function failure(message: string) {
  return { status: "failed", reason: "function_failed", message: `The function has failed: ${message}` } as const;
}

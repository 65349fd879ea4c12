import type { Clock } from "../../../clock.ts";
import { LAMBDA_RESPONSE_BYTES } from "../../../domain/lambda/function-error.ts";
import type { InstanceStream, StreamReader } from "../../gate-protocol/instance-stream.ts";
import type { ArrivedHead } from "../../http1/request-reader.ts";
import type { AskingApp, InitFailure, ShutdownReason } from "../../instance/boot/asking-app.ts";
import type { ExtensionEndFrame, ExtensionsFrame } from "../../gate-protocol/frames.ts";
import type { AnswerListener } from "../../instance/stream-exchange.ts";
import { type ApiAnswer, Connection, type RequestTaker } from "./connection.ts";
import {
  ACCEPTED,
  NO_LOGS,
  NO_TELEMETRY,
  OTHER_CALL,
  OTHER_METHOD,
  OUT_OF_ORDER,
  PONG,
  readReport,
  UNKNOWN_PATH,
} from "./errors.ts";
import { type ExtensionFailure, Extensions, EXTENSIONS_API, type FunctionFacts } from "./extensions.ts";
import { type LambdaCall, LambdaDialogue } from "./lambda-dialogue.ts";
import { Answers, Collects, ResponseTaker } from "./takers.ts";

const API = "/2018-06-01";
const INVOCATION = /^\/2018-06-01\/runtime\/invocation\/([^/]{1,256})\/(response|error)$/;
const ERROR_TYPE_HEADER = "lambda-runtime-function-error-type";

const UNREAD = "The function closed the connection before it had read its event, and asked for another one";

/**
 * The Runtime API of one instance, as AWS's sandbox serves it to a runtime (lib/docs/contracts.md has its requests).
 *
 *     init --GET next--> waiting --serve()--> invoked --POST response or error--> answered --GET next--> waiting
 *
 * - `init`: the runtime starts. `POST init/error` ends it.
 * - `waiting`: a `GET next` is held until there is a call. Its connection may be lost: then the next `GET next` gets the call.
 * - `invoked`: it has the event, and may answer it. If its connection was closed before a byte of the event was written, it is `waiting`
 *   again, without a `GET next`. If the connection was reset later, it may still be at the event; a `GET next` says that it is not, and
 *   the call has failed: it may have run.
 * - `answered`: the answer is there, or is still arriving; the call is over at the next `GET next`.
 *
 * Where there are extensions, the function has booted, and a call is over, when all of them have asked for their next event, too.
 *
 * A request that the state does not allow is answered 403, one for another call 400; neither changes anything.
 */
export class LambdaApp implements AskingApp {
  readonly #clock: Clock;
  readonly #asks = Promise.withResolvers<void>();
  #initFailure: InitFailure | undefined;
  /** The connection of a report that it cannot start. */
  #reporter: Connection | undefined;
  #state: "init" | "waiting" | "invoked" | "answered" = "init";
  /** The held `GET next`. */
  #next: Connection | undefined;
  #dialogue: LambdaDialogue | undefined;
  /** True if the connection of the event was reset behind it. */
  #wasReset = false;
  #hasBooted = false;
  readonly #facts: FunctionFacts;
  readonly #extensions: Extensions;

  constructor(clock: Clock, facts: FunctionFacts) {
    this.#clock = clock;
    this.#facts = facts;
    this.#extensions = new Extensions(clock, facts, {
      moved: () => this.#move(),
      failed: (failure) => this.#fail(failure),
    });
  }

  set handler(handler: string) {
    this.#facts.handler = handler;
  }

  get missing(): string {
    const extension = this.#extensions.missing;
    return extension === undefined ? "ask for its first call" : `get ready, as ${extension},`;
  }

  extensionsStarted(frame: ExtensionsFrame, start: () => void): void {
    this.#extensions.started(frame, start);
  }

  extensionEnded(frame: ExtensionEndFrame): void {
    this.#extensions.ended(frame);
  }

  shutDown(shutdownReason: ShutdownReason, inMs: number): readonly number[] {
    return this.#extensions.shutDown({ shutdownReason, deadlineMs: this.#deadline(inMs) });
  }

  /** An extension may end in the moment in which all have asked: that is still a failure of the start. */
  get asks(): Promise<InitFailure | undefined> {
    return this.#asks.promise.then(() => this.#initFailure);
  }

  readonly accept = (stream: InstanceStream): StreamReader =>
    new Connection(stream, (head, connection) => this.#take(head, connection));

  /** Hands a call to the runtime: at once if it has asked, else when it does. */
  serve(call: LambdaCall, listener: AnswerListener): LambdaDialogue {
    const dialogue: LambdaDialogue = new LambdaDialogue(call, listener, this.#clock, () => {
      if (this.#dialogue === dialogue) this.#dialogue = undefined;
    });
    this.#dialogue = dialogue;
    this.#extensions.invoke(this.#eventOf(call));
    if (this.#next !== undefined) this.#invoke(this.#next, dialogue);
    return dialogue;
  }

  #take(head: ArrivedHead, connection: Connection): RequestTaker {
    const { method, target, headers, framing } = head;
    const [path = ""] = target.split("?", 1);
    if (path.startsWith(EXTENSIONS_API)) return this.#extensions.take(path, head, connection);
    const answers = (answer: ApiAnswer) => new Answers(connection, answer);
    const only = (wanted: string, taker: () => RequestTaker) => (method === wanted ? taker() : answers(OTHER_METHOD));
    if (path === `${API}/runtime/invocation/next`) return only("GET", () => this.#takeNext(connection));
    if (path === "/2020-08-15/logs") return only("PUT", () => answers(NO_LOGS));
    if (path === "/2022-07-01/telemetry") return only("PUT", () => answers(NO_TELEMETRY));
    if (path === `${API}/ping`) return only("GET", () => answers(PONG));
    if (path === `${API}/runtime/init/error`) return only("POST", () => this.#takeInitError(headers, connection));
    const [, id, what] = INVOCATION.exec(path) ?? [];
    if (id === undefined) return answers(UNKNOWN_PATH);
    return only("POST", () => {
      const dialogue = this.#dialogue;
      if (dialogue?.call.id !== id) return answers(OTHER_CALL);
      if (this.#state !== "invoked") return answers(OUT_OF_ORDER);
      this.#state = "answered";
      return what === "error"
        ? this.#takeError(dialogue, headers, connection)
        : new ResponseTaker({ headers, framing }, dialogue, connection);
    });
  }

  #takeNext(connection: Connection): RequestTaker {
    const isEarly = () =>
      this.#next !== undefined ||
      (this.#state === "invoked" && !this.#wasReset) ||
      (this.#state === "answered" && this.#dialogue?.isDelivered === false);
    return {
      refuses: false,
      push: () => false,
      lost: () => {
        if (this.#next === connection) this.#next = undefined;
      },
      end: () => {
        if (isEarly()) return connection.answer(OUT_OF_ORDER);
        const before = this.#dialogue;
        const was = this.#state;
        this.#state = "waiting";
        this.#next = connection;
        this.#extensions.close();
        if (was === "invoked") before?.refuse("invalid_response", UNREAD);
        else if (before?.isDelivered === false) this.#invoke(connection, before);
        this.#move();
      },
    };
  }

  /** Looks whether the function has booted, or whether a call is over: the function and all extensions have asked for what comes next. */
  #move(): void {
    if (this.#state !== "waiting") return;
    if (!this.#hasBooted && this.#extensions.missing === undefined) {
      this.#hasBooted = true;
      this.#asks.resolve();
    }
    if (this.#dialogue?.isDelivered === true && this.#extensions.areIdle) this.#dialogue.next();
  }

  /** Takes the failure of an extension. */
  #fail({ error_type, error_message, message }: ExtensionFailure): void {
    const payload = { errorType: error_type, errorMessage: `Error: ${error_message}` };
    this.#failInit({ message, payload });
    const dialogue = this.#dialogue;
    dialogue?.crash(message, { ...payload, errorMessage: `RequestId: ${dialogue.call.id} Error: ${error_message}` });
  }

  /** Takes why it cannot start. Only the first reason counts. */
  #failInit(failure: InitFailure): void {
    this.#initFailure ??= failure;
    this.#asks.resolve();
  }

  #deadline(inMs: number): number {
    return Math.floor(this.#clock.now()) + inMs;
  }

  /** Returns what extensions are told of a call. */
  #eventOf({ id, headers, timeout_ms }: LambdaCall): Readonly<Record<string, unknown>> {
    const { "Lambda-Runtime-Invoked-Function-Arn": invokedFunctionArn, "Lambda-Runtime-Trace-Id": value } =
      Object.fromEntries(headers);
    const deadlineMs = this.#deadline(timeout_ms);
    return { deadlineMs, requestId: id, invokedFunctionArn, tracing: { type: "X-Amzn-Trace-Id", value } };
  }

  #takeInitError(headers: ArrivedHead["headers"], connection: Connection): RequestTaker {
    // One at a time: each is kept here until it is whole.
    if (this.#state !== "init" || this.#reporter !== undefined) return new Answers(connection, OUT_OF_ORDER);
    this.#reporter = connection;
    const take = (body: Uint8Array) => {
      if (this.#state !== "init") return OUT_OF_ORDER;
      this.#failInit({ ...readReport(headers.get(ERROR_TYPE_HEADER), body), payload: body });
      return ACCEPTED;
    };
    return new Collects(connection, LAMBDA_RESPONSE_BYTES, take, () => {
      if (this.#reporter === connection) this.#reporter = undefined;
    });
  }

  #takeError(dialogue: LambdaDialogue, headers: ArrivedHead["headers"], connection: Connection): RequestTaker {
    const take = (body: Uint8Array) => {
      dialogue.fail(headers.get(ERROR_TYPE_HEADER), body);
      return ACCEPTED;
    };
    return new Collects(connection, LAMBDA_RESPONSE_BYTES, take, (why) => {
      if (why === "lost")
        dialogue.refuse("invalid_response", "The function closed the connection in the middle of its error");
      else dialogue.refuse("response_too_large", `The function's error has more than ${LAMBDA_RESPONSE_BYTES} bytes`);
    });
  }

  #invoke(connection: Connection, dialogue: LambdaDialogue): void {
    const { id, event, headers, timeout_ms } = dialogue.call;
    this.#next = undefined;
    this.#state = "invoked";
    this.#wasReset = false;
    dialogue.sent_bytes = event.length;
    const answer = {
      status: 200,
      headers: [
        ["Content-Type", "application/json"],
        ["Lambda-Runtime-Aws-Request-Id", id],
        ["Lambda-Runtime-Deadline-Ms", String(this.#deadline(timeout_ms))],
        ...headers,
      ],
      body: event,
    } satisfies ApiAnswer;
    connection.answer(answer, (untouched) => {
      if (this.#dialogue !== dialogue || this.#state !== "invoked") return;
      if (untouched) this.#state = "waiting";
      else this.#wasReset = true;
    });
  }
}

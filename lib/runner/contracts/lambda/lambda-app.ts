import type { Clock } from "../../../clock.ts";
import { LAMBDA_RESPONSE_BYTES } from "../../../domain/lambda/function-error.ts";
import type { InstanceStream, StreamReader } from "../../gate-protocol/instance-stream.ts";
import type { ArrivedHead } from "../../http1/request-reader.ts";
import type { AskingApp, InitFailure } from "../../instance/boot/asking-app.ts";
import type { AnswerListener, Dialogue } from "../../instance/stream-exchange.ts";
import { type ApiAnswer, Connection, type RequestTaker } from "./connection.ts";
import { ACCEPTED, OTHER_CALL, OTHER_METHOD, OUT_OF_ORDER, PONG, readReport, UNKNOWN_PATH } from "./errors.ts";
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
 * A request that the state does not allow is answered 403, one for another call 400; neither changes anything.
 */
export class LambdaApp implements AskingApp {
  readonly #clock: Clock;
  readonly #asks = Promise.withResolvers<InitFailure | undefined>();
  #state: "init" | "waiting" | "invoked" | "answered" = "init";
  /** The held `GET next`. */
  #next: Connection | undefined;
  #dialogue: LambdaDialogue | undefined;
  /** True if the connection of the event was reset behind it. */
  #wasReset = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get asks(): Promise<InitFailure | undefined> {
    return this.#asks.promise;
  }

  readonly accept = (stream: InstanceStream): StreamReader =>
    new Connection(stream, (head, connection) => this.#take(head, connection));

  /** Hands a call to the runtime: at once if it has asked, else when it does. */
  serve(call: LambdaCall, listener: AnswerListener): Dialogue {
    const dialogue: LambdaDialogue = new LambdaDialogue(call, listener, this.#clock, () => {
      if (this.#dialogue === dialogue) this.#dialogue = undefined;
    });
    this.#dialogue = dialogue;
    if (this.#next !== undefined) this.#invoke(this.#next, dialogue);
    return dialogue;
  }

  #take({ method, target, headers, framing }: ArrivedHead, connection: Connection): RequestTaker {
    const [path = ""] = target.split("?", 1);
    const answers = (answer: ApiAnswer) => new Answers(connection, answer);
    const only = (wanted: string, taker: () => RequestTaker) => (method === wanted ? taker() : answers(OTHER_METHOD));
    if (path === `${API}/runtime/invocation/next`) return only("GET", () => this.#takeNext(connection));
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
        if (was === "answered") before?.next();
        else if (was === "invoked") before?.refuse("invalid_response", UNREAD);
        else if (before !== undefined) this.#invoke(connection, before);
        this.#asks.resolve(undefined);
      },
    };
  }

  #takeInitError(headers: ArrivedHead["headers"], connection: Connection): RequestTaker {
    return new Collects(connection, LAMBDA_RESPONSE_BYTES, (body) => {
      if (this.#state !== "init") return OUT_OF_ORDER;
      this.#asks.resolve({ ...readReport(headers.get(ERROR_TYPE_HEADER), body), payload: body });
      return ACCEPTED;
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
        ["Lambda-Runtime-Deadline-Ms", String(Math.floor(this.#clock.now()) + timeout_ms)],
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

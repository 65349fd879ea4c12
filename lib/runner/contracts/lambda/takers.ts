import { GatheredPieces } from "../../../domain/calls/collected-bytes.ts";
import { LAMBDA_RESPONSE_BYTES } from "../../../domain/lambda/function-error.ts";
import type { ArrivedHead } from "../../http1/request-reader.ts";
import type { ApiAnswer, Connection, RequestTaker } from "./connection.ts";
import { ACCEPTED, BAD_MODE, readReport, tooLarge } from "./errors.ts";
import type { LambdaDialogue } from "./lambda-dialogue.ts";

const MODE_HEADER = "lambda-runtime-function-response-mode";
const ERROR_TRAILER = "lambda-runtime-function-error-type";
const ERROR_BODY_TRAILER = "lambda-runtime-function-error-body";

/** Drops a body, and answers behind it. */
export class Answers implements RequestTaker {
  readonly #connection: Connection;
  readonly #answer: ApiAnswer;
  readonly refuses = true;

  constructor(connection: Connection, answer: ApiAnswer) {
    this.#connection = connection;
    this.#answer = answer;
  }

  push(): boolean {
    return false;
  }

  end(): void {
    this.#connection.answer(this.#answer);
  }

  lost(): void {}
}

/** Takes a body as a whole, if it is not too long. */
export class Collects implements RequestTaker {
  readonly #connection: Connection;
  readonly #limit: number;
  readonly #take: (body: Uint8Array) => ApiAnswer;
  readonly #miss: (why: "too_long" | "lost") => void;
  readonly #pieces = new GatheredPieces();
  #bytes = 0;
  readonly refuses = false;

  /** `take` returns the answer to the request. `miss` is called in its place if the body is too long, or does not come to its end. */
  constructor(
    connection: Connection,
    limit: number,
    take: (body: Uint8Array) => ApiAnswer,
    miss: (why: "too_long" | "lost") => void = () => undefined,
  ) {
    this.#connection = connection;
    this.#limit = limit;
    this.#take = take;
    this.#miss = miss;
  }

  push(bytes: Uint8Array): boolean {
    const wasTooLong = this.#bytes > this.#limit;
    this.#bytes += bytes.length;
    if (this.#bytes <= this.#limit) this.#pieces.add(bytes);
    else if (!wasTooLong) {
      this.#pieces.take();
      this.#miss("too_long");
    }
    return false;
  }

  end(): void {
    if (this.#bytes > this.#limit) return this.#connection.answer(tooLarge(this.#limit));
    this.#connection.answer(this.#take(Buffer.concat(this.#pieces.take())));
  }

  lost(): void {
    this.#pieces.take();
    this.#miss("lost");
  }
}

/** Takes the response to an event: as a whole, or as it comes. */
export class ResponseTaker implements RequestTaker {
  readonly #dialogue: LambdaDialogue;
  readonly #connection: Connection;
  readonly #streams: boolean;
  readonly #pieces = new GatheredPieces();
  #bytes = 0;
  readonly refuses: boolean;
  #problem: ApiAnswer | undefined;

  constructor(
    { headers, framing }: Pick<ArrivedHead, "headers" | "framing">,
    dialogue: LambdaDialogue,
    connection: Connection,
  ) {
    this.#dialogue = dialogue;
    this.#connection = connection;
    const mode = headers.get(MODE_HEADER)?.toLowerCase() ?? "";
    this.#streams = mode === "streaming";
    if (!this.#streams && mode !== "" && mode !== "buffered") {
      this.#problem = BAD_MODE;
      dialogue.refuse("invalid_response", "The function's answer has a response mode that does not exist");
    }
    if (!this.#streams && framing.kind === "length" && framing.bytes > LAMBDA_RESPONSE_BYTES) this.#refuse();
    this.refuses = this.#problem !== undefined;
    if (this.#streams) dialogue.begin(connection.stream, headers.get("content-type") ?? null);
  }

  push(bytes: Uint8Array): boolean {
    if (this.#streams) return this.#dialogue.push(bytes);
    if (this.#problem !== undefined) return false;
    this.#bytes += bytes.length;
    if (this.#bytes > LAMBDA_RESPONSE_BYTES) this.#refuse();
    else this.#pieces.add(bytes);
    return false;
  }

  end(trailers: ReadonlyMap<string, string>): void {
    this.#connection.answer(this.#problem ?? ACCEPTED);
    if (this.#problem !== undefined) return;
    const type = trailers.get(ERROR_TRAILER) ?? "";
    const report = Buffer.from(trailers.get(ERROR_BODY_TRAILER) ?? "", "base64");
    const failed = type !== "" || report.length > 0;
    if (this.#streams) this.#dialogue.end(failed ? readReport(type, report) : undefined);
    else if (failed) this.#dialogue.fail(type, report);
    else this.#dialogue.succeed(Buffer.concat(this.#pieces.take()));
  }

  lost(): void {
    this.#pieces.take();
    this.#dialogue.refuse("invalid_response", "The function closed the connection in the middle of its answer");
  }

  #refuse(): void {
    this.#pieces.take();
    this.#problem = tooLarge(LAMBDA_RESPONSE_BYTES);
    this.#dialogue.refuse("response_too_large", `The function's answer has more than ${LAMBDA_RESPONSE_BYTES} bytes`);
  }
}

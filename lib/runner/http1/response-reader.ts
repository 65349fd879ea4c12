import { BodyReader } from "./body-reader.ts";
import { MalformedResponse } from "./malformed-response.ts";
import { type AskedRequest, type Framing, type ResponseHead, ResponseHeadReader } from "./response-head.ts";

/** A part of an answer, in the order in which they come: one head, pieces of the body, one end. */
export type ResponsePart =
  | { readonly type: "head"; readonly head: ResponseHead }
  | { readonly type: "body"; readonly bytes: Uint8Array }
  | { readonly type: "end" };

/**
 * The framings behind which another answer can be told from this one. An answer without a body leaves nothing: an app that gives it one
 * all the same, as those that know neither HEAD nor 205 do, may send it when the connection is the next caller's.
 */
const HAS_END: ReadonlySet<Framing["kind"]> = new Set(["length", "chunked"]);

/** Reads one answer from the bytes of a connection that is closed behind it. After an error it must not be used. */
export class ResponseReader {
  readonly #heads: ResponseHeadReader;
  #body: BodyReader | undefined;
  #persistent = false;
  #ended = false;

  constructor(asked: AskedRequest) {
    this.#heads = new ResponseHeadReader(asked);
  }

  /** True if nothing has come. */
  get isEmpty(): boolean {
    return this.#heads.isEmpty;
  }

  /** True if the answer is complete, and its connection can be used for another request. */
  get leavesConnection(): boolean {
    return this.#ended && this.#persistent && this.#body?.surplus === false;
  }

  /** Takes more bytes, and yields the parts that they complete. Throws MalformedResponse. */
  *push(bytes: Uint8Array): Generator<ResponsePart, void, void> {
    let rest = bytes;
    if (this.#body === undefined) {
      const read = this.#heads.push(bytes);
      if (read === undefined) return;
      this.#body = new BodyReader(read.head.framing);
      this.#persistent = read.head.persistent && HAS_END.has(read.head.framing.kind);
      rest = read.rest;
      yield { type: "head", head: read.head };
    }
    if (this.#ended) return;
    for (const piece of this.#body.push(rest)) yield { type: "body", bytes: piece };
    if (this.#body.done) yield this.#end();
  }

  /** Takes the end of the connection, and yields the end of the answer if that was it. Throws MalformedResponse. */
  *close(): Generator<ResponsePart, void, void> {
    if (this.#ended) return;
    if (this.#body === undefined) {
      throw new MalformedResponse(
        this.isEmpty ? "is missing: it closed the connection" : "ends in the middle of its head",
      );
    }
    this.#body.close();
    yield this.#end();
  }

  #end(): ResponsePart {
    this.#ended = true;
    return { type: "end" };
  }
}

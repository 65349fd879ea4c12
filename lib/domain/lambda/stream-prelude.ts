import { CollectedBytes } from "../calls/collected-bytes.ts";
import { RESPONSE_HEAD_BYTES } from "../limits.ts";
import { functionUrlHead, type FunctionUrlHead, type Malformed } from "./function-url-response.ts";

/** The content type of a streamed answer that begins with a head: JSON, eight NUL bytes, and then the body. */
export const PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response";

/** The NUL bytes between head and body. JSON has none: in a string they are escaped. */
const DELIMITER = Buffer.alloc(8);

/** The head of a streamed answer, and the bytes that have come of its body. */
export interface Begun {
  readonly head: FunctionUrlHead;
  readonly body: Uint8Array;
}

/** Reads the head of a streamed answer as it arrives. A head has up to 64 KiB (`RESPONSE_HEAD_BYTES`), like one of HTTP. */
export class StreamPrelude {
  readonly #ownOrigin: boolean;
  readonly #bytes = new CollectedBytes();

  constructor(ownOrigin = false) {
    this.#ownOrigin = ownOrigin;
  }

  /** Takes more bytes. Returns the head when it is complete, or the problem with it; nothing more is to be given to it then. */
  push(piece: Uint8Array): Begun | Malformed | undefined {
    // The delimiter may have begun in the piece before.
    const from = Math.max(0, this.#bytes.length - DELIMITER.length + 1);
    this.#bytes.add(piece);
    const { all } = this.#bytes;
    const end = all.indexOf(DELIMITER, from);
    if (end > RESPONSE_HEAD_BYTES || (end === -1 && all.length >= RESPONSE_HEAD_BYTES + DELIMITER.length)) {
      return { problem: `begins with a head of over ${RESPONSE_HEAD_BYTES} bytes` };
    }
    if (end === -1) return undefined;
    const head = functionUrlHead(all.toString("utf8", 0, end), this.#ownOrigin);
    // Of the piece itself, whose reader may free it: the delimiter ends in it.
    const after = all.length - end - DELIMITER.length;
    return "problem" in head ? head : { head, body: piece.subarray(piece.length - after) };
  }

  /** Returns the problem with an answer that ends here. */
  close(): Malformed {
    return { problem: "ends before the eight NUL bytes that must follow its head" };
  }
}

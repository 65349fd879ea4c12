import { timingSafeEqual } from "node:crypto";

/** The bytes of a signature of a part of an answer. */
export const SEAL_BYTES = 32;
/** The bytes of a part's number. */
const NUMBER_BYTES = 4;

/**
 * Signs the answer to one signed request, or checks it, part by part: each signature is good for this request, and for one place in the
 * answer. Nobody without the key of the servers can make one, nor leave out, repeat or move a part. A refusal is signed on its own.
 */
export class AnswerSeal {
  readonly #key: Uint8Array;
  readonly #request: Uint8Array;
  #parts: Uint8Array | undefined;
  #number = 0;

  /** `request` is the signature of the request. */
  constructor(key: Uint8Array, request: Uint8Array) {
    this.#key = key;
    this.#request = request;
  }

  /** The signature that says that nothing of what the request asks for was done, nor will be. */
  get refusal(): string {
    return this.#derived("refused").toString("hex");
  }

  /** Returns whether a text is the signature of a refusal. */
  isRefusal(given: string | null): boolean {
    return isEqual(Buffer.from(given ?? "", "hex"), this.#derived("refused"));
  }

  /** Returns the signature of the next part. */
  next(part: Uint8Array): Uint8Array {
    this.#parts ??= this.#derived("answer");
    const number = new Uint8Array(NUMBER_BYTES);
    new DataView(number.buffer).setUint32(0, this.#number++);
    return new Bun.CryptoHasher("sha256", this.#parts).update(number).update(part).digest();
  }

  /** Returns whether this is the signature of the next part. */
  isNext(part: Uint8Array, given: Uint8Array): boolean {
    return isEqual(given, this.next(part));
  }

  #derived(use: "answer" | "refused"): Buffer {
    const hasher = new Bun.CryptoHasher("sha256", this.#key);
    return Buffer.from(hasher.update(`${use}\n`).update(this.#request).digest());
  }
}

function isEqual(given: Uint8Array, right: Uint8Array): boolean {
  return given.length === right.length && timingSafeEqual(given, right);
}

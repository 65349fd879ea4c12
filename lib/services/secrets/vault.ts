import type * as Crypto from "node:crypto";
import { SECRET_KEY_BYTES } from "../../domain/parse-secret-key.ts";

const ALGORITHM = "aes-256-gcm";
/** The first byte of a sealed value. Another way to seal, or a second key, gets the next number. */
const VERSION = 1;
/** 96 bits, as GCM wants them: random ones are safe for 2^32 values under one key, and we keep some ten thousand. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + NONCE_BYTES;

/** Thrown if a sealed value cannot be opened: another key, another context, or not the bytes that `seal` made. */
export class VaultError extends Error {
  override readonly name = "VaultError";
}

/**
 * Seals values for the database with AES-256-GCM. A sealed value is base64 of version, nonce, ciphertext and tag; it is
 * bound to its version and its context (such as `secret:database-password`), so that one row's value is of no use in another.
 */
export class Vault {
  readonly #key: Uint8Array;

  /** Takes a key of 32 bytes. */
  constructor(key: Uint8Array) {
    if (key.length !== SECRET_KEY_BYTES) throw new RangeError(`A key has ${SECRET_KEY_BYTES} bytes, not ${key.length}`);
    this.#key = Buffer.from(key);
  }

  /** Makes a vault with a new key that is not kept: for a database that ends with the process. */
  static forgetful(): Vault {
    return new Vault(newSecretKey());
  }

  /** Returns a fingerprint of the key: it reveals nothing of the key, and no other key has it. */
  fingerprint(): string {
    return new Bun.CryptoHasher("sha256", this.#key).update("slipway: the key of a vault").digest("hex");
  }

  /** Returns a key for another purpose than sealing. It reveals nothing of this one, nor of those for other purposes. */
  keyFor(purpose: string): Uint8Array {
    return new Bun.CryptoHasher("sha256", this.#key).update(`slipway: a key for ${purpose}`).digest();
  }

  /** Seals a text for a context; never twice to the same value. A text with half of a surrogate pair throws a RangeError. */
  seal(context: string, plaintext: string): string {
    // UTF-8 has no bytes for it, and would store a replacement character instead.
    if (!plaintext.isWellFormed()) throw new RangeError("Half of a surrogate pair cannot be sealed");
    const nonce = crypto.getRandomValues(Buffer.alloc(NONCE_BYTES));
    const cipher = ciphers().createCipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(boundTo(context));
    const sealed = [Buffer.of(VERSION), nonce, cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(sealed).toString("base64");
  }

  /** Opens a value that `seal` made for this context; throws a `VaultError` for anything else. */
  open(context: string, sealed: string): string {
    const bytes = Buffer.from(sealed, "base64");
    // Decoding skips everything that is not base64: a text that means the same in another form is not what was sealed.
    if (bytes.toString("base64") !== sealed) throw new VaultError("It is not base64");
    if (bytes.length < HEAD_BYTES + TAG_BYTES) throw new VaultError("It is too short");
    if (bytes[0] !== VERSION) throw new VaultError(`It has version ${bytes[0]}, and only ${VERSION} is known`);
    const nonce = bytes.subarray(1, HEAD_BYTES);
    const decipher = ciphers().createDecipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(boundTo(context));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const body = decipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES));
      return Buffer.concat([body, decipher.final()]).toString("utf8");
    } catch (error) {
      throw new VaultError("It was sealed with another key or for another context, or was damaged", { cause: error });
    }
  }
}

/** Makes a new key. */
export function newSecretKey(): Uint8Array {
  return crypto.getRandomValues(Buffer.alloc(SECRET_KEY_BYTES));
}

/** Loaded at the first use: it takes 3 ms, too much for the start. */
function ciphers(): typeof Crypto {
  return import.meta.require("node:crypto") as typeof Crypto; // the module of that name
}

function boundTo(context: string): Buffer {
  return Buffer.from(`slipway:${VERSION}:${context}`);
}

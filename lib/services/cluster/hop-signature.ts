import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";

/** The path at which servers pass calls on to each other. */
export const HOP_PATH = "/cluster/calls";

/** The time for which a signature is good, in milliseconds, by the clock of the database. */
const GOOD_MS = 10_000;
const NONCE_BYTES = 16;

/** The headers of a call that is passed on; `hop` says that it is, and that it may not be again. */
const HEADERS = {
  hop: "x-slipway-hop",
  time: "x-slipway-hop-time",
  nonce: "x-slipway-hop-nonce",
  body: "x-slipway-hop-body",
  signature: "x-slipway-hop-signature",
} as const;

/** The process that a call is passed on to. A signature is of no use to another one. */
export interface Receiver {
  readonly id: string;
  readonly epoch: string;
}

/** Returns the headers with which a call is passed on: only who has the key can make them, for this path, body and process. */
export function signHop(
  key: Uint8Array,
  to: Receiver,
  body: Uint8Array,
  now: number,
  path = HOP_PATH,
): Record<string, string> {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES))).toString("hex");
  const signed = { time: String(now), nonce, body: hashOf(body) };
  return {
    [HEADERS.hop]: "1",
    [HEADERS.time]: signed.time,
    [HEADERS.nonce]: nonce,
    [HEADERS.body]: signed.body,
    [HEADERS.signature]: signatureOf(key, to, path, signed).toString("hex"),
  };
}

/** Checks the signatures of calls that other servers pass on, each of which is good once. */
export class HopCheck {
  readonly #key: Uint8Array;
  readonly #own: Receiver;
  readonly #clock: Pick<Clock, "now">;
  /** The nonces that were used, and until when they must be remembered; the oldest first. */
  readonly #used = new Map<string, number>();

  constructor(key: Uint8Array, own: Receiver, clock: Pick<Clock, "now">) {
    this.#key = key;
    this.#own = own;
    this.#clock = clock;
  }

  /**
   * Throws `unauthorized` unless a request was signed for this process a moment ago and comes for the first time. Returns the check
   * of its body, which throws the same: the signature is known to be right before the body is read.
   */
  check({ headers }: Pick<Request, "headers">, path = HOP_PATH): (body: Uint8Array) => void {
    const of = (name: keyof typeof HEADERS) => headers.get(HEADERS[name]) ?? "";
    const signed = { time: of("time"), nonce: of("nonce"), body: of("body") };
    const given = Buffer.from(of("signature"), "hex");
    const right = signatureOf(this.#key, this.#own, path, signed);
    if (of("hop") !== "1" || given.length !== right.length || !timingSafeEqual(given, right)) throw notSigned();
    const now = this.#clock.now();
    // The signer has written a number.
    if (Math.abs(now - Number(signed.time)) > GOOD_MS) throw notSigned();
    this.#forget(now);
    if (this.#used.has(signed.nonce)) throw notSigned();
    this.#used.set(signed.nonce, now + 2 * GOOD_MS);
    return (body) => {
      if (hashOf(body) !== signed.body) throw notSigned();
    };
  }

  #forget(now: number): void {
    for (const [nonce, until] of this.#used) {
      if (until > now) return;
      this.#used.delete(nonce);
    }
  }
}

function signatureOf(
  key: Uint8Array,
  { id, epoch }: Receiver,
  path: string,
  { time, nonce, body }: { readonly [name in "time" | "nonce" | "body"]: string },
): Buffer {
  const text = ["POST", path, id, epoch, time, nonce, body].join("\n");
  return Buffer.from(new Bun.CryptoHasher("sha256", key).update(text).digest());
}

function hashOf(body: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(body).digest("hex");
}

function notSigned(): AppError {
  return new AppError(
    "unauthorized",
    "This is nothing that another server of this database has just sent: check that all have the same SECRET_KEY",
  );
}

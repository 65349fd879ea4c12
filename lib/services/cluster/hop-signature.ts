import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { AnswerSeal } from "./wire/answer-seal.ts";

/** The path at which servers pass calls on to each other. */
export const HOP_PATH = "/cluster/calls";

/** The header of a refusal with its signature: nothing of the call was done, nor will be. */
export const REFUSAL_HEADER = "X-Slipway-Hop-Refusal";

/** The time for which a signature is good, in milliseconds, by the clock of the database. */
const GOOD_MS = 10_000;
const NONCE_BYTES = 16;

/** The headers of a call that is passed on; `hop` says that it is, and that it may not be again. */
const HEADERS = {
  hop: "x-slipway-hop",
  time: "x-slipway-hop-time",
  nonce: "x-slipway-hop-nonce",
  epoch: "x-slipway-hop-epoch",
  body: "x-slipway-hop-body",
  signature: "x-slipway-hop-signature",
} as const;

/** The process that a call is passed on to. A signature is of no use to another one. */
export interface Receiver {
  readonly id: string;
  readonly epoch: string;
}

/** A request that another server lets in. */
export interface SignedRequest {
  /** The headers that say so: only who has the key can make them, for this path, body and process. */
  readonly headers: Record<string, string>;
  /** The signatures of its answer. */
  readonly seal: AnswerSeal;
}

/** Signs a request to another server. */
export function signHop(key: Uint8Array, to: Receiver, body: Uint8Array, now: number, path = HOP_PATH): SignedRequest {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES))).toString("hex");
  const signed = { time: String(now), nonce, body: hashOf(body) };
  const signature = signatureOf(key, to, path, signed);
  const headers = {
    [HEADERS.hop]: "1",
    [HEADERS.time]: signed.time,
    [HEADERS.nonce]: nonce,
    [HEADERS.epoch]: to.epoch,
    [HEADERS.body]: signed.body,
    [HEADERS.signature]: signature.toString("hex"),
  };
  return { headers, seal: new AnswerSeal(key, signature) };
}

/** A request whose signature is right. */
export interface CheckedRequest {
  /** The signatures of its answer. */
  readonly seal: AnswerSeal;
  /** True if it was signed for an earlier process of this server, which had ended by then: nobody has done what it asks for, nor will. */
  readonly isForPredecessor: boolean;
  /** Throws `unauthorized` unless this is its body. */
  readonly checkBody: (body: Uint8Array) => void;
}

/** Checks the signatures of requests of other servers, each of which is good once. */
export class HopCheck {
  readonly #key: Uint8Array;
  readonly #own: Receiver;
  readonly #clock: Pick<Clock, "now">;
  readonly #began: number;
  /** The nonces that were used, and until when they must be remembered; the oldest first. */
  readonly #used = new Map<string, number>();

  /** Make it once this process alone has the id. */
  constructor(key: Uint8Array, own: Receiver, clock: Pick<Clock, "now">) {
    this.#key = key;
    this.#own = own;
    this.#clock = clock;
    this.#began = clock.now();
  }

  /**
   * Throws `unauthorized` unless a request was signed for this server a moment ago and comes for the first time. The signature is known
   * to be right before the body is read.
   */
  check({ headers }: Pick<Request, "headers">, path = HOP_PATH): CheckedRequest {
    const of = (name: keyof typeof HEADERS) => headers.get(HEADERS[name]) ?? "";
    const signed = { time: of("time"), nonce: of("nonce"), body: of("body") };
    const epoch = of("epoch");
    const given = Buffer.from(of("signature"), "hex");
    const right = signatureOf(this.#key, { id: this.#own.id, epoch }, path, signed);
    if (of("hop") !== "1" || given.length !== right.length || !timingSafeEqual(given, right)) throw notSigned();
    const now = this.#clock.now();
    // The signer has written a number.
    const time = Number(signed.time);
    if (Math.abs(now - time) > GOOD_MS) throw notSigned();
    const isForPredecessor = epoch !== this.#own.epoch;
    // The predecessor may have had it, too, before it ended.
    if (isForPredecessor && time <= this.#began) throw notSigned();
    this.#forget(now);
    if (this.#used.has(signed.nonce)) throw notSigned();
    this.#used.set(signed.nonce, now + 2 * GOOD_MS);
    const checkBody = (body: Uint8Array) => {
      if (hashOf(body) !== signed.body) throw notSigned();
    };
    return { seal: new AnswerSeal(this.#key, right), isForPredecessor, checkBody };
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

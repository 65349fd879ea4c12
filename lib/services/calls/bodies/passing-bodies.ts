import type { Clock } from "../../../clock.ts";
import { Alarm } from "../../../domain/concurrency.ts";
import { AppError } from "../../../domain/errors.ts";
import type { MessageBody } from "../../../domain/calls/http-message.ts";
import { KeptBody, type KeptMemory } from "./kept-body.ts";

/**
 * The time from the last piece of an answer that fails to the cut, in milliseconds: Bun resets the connection, and a reset that
 * comes right behind the bytes lets the kernel of the reader throw them away.
 */
const CUT_MS = 50;

interface PassingDeps {
  readonly clock: Clock;
  /** The longest time without a byte in either direction, in milliseconds; null for no limit. */
  readonly idle_timeout_ms: number | null;
  /** The most bytes that are kept of each body for its record; null if none are. */
  readonly keep: { readonly bytes: number; readonly memory: KeptMemory } | null;
  /** Ends the call. */
  readonly abort: (reason: unknown) => void;
}

/**
 * The two bodies of a call whose function streams, as they pass: counts them, keeps them for the record if that is asked for, and
 * ends the call if neither moves. It asks for a piece only when its reader does, so it holds none, and a reader that takes its
 * time does not count as silence.
 */
export class PassingBodies implements Disposable {
  readonly #deps: PassingDeps;
  readonly #idle: Alarm;
  #movedAt = 0;
  /** True while the reader of the answer has taken all that has come. */
  #isWaiting = true;
  #keptRequest: KeptBody | undefined;
  #keptResponse: KeptBody | undefined;
  #requestBytes = 0;
  #responseBytes = 0;
  #endedAt: number | undefined;
  readonly #settled = Promise.withResolvers<void>();

  constructor(deps: PassingDeps) {
    this.#deps = deps;
    this.#idle = new Alarm(deps.clock, () => this.#check());
  }

  /** The bytes of the request that were taken. */
  get request_bytes(): number {
    return this.#requestBytes;
  }

  /** The bytes of the answer that were passed on. */
  get response_bytes(): number {
    return this.#responseBytes;
  }

  /** When the last byte of the answer was passed on, on the monotonic clock; undefined before that. */
  get endedAt(): number | undefined {
    return this.#endedAt;
  }

  /** Resolves when the reader of the answer has all of it, or will get no more. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** The whole request; null if it is not kept, or was not read to its end. */
  get request(): Uint8Array | null {
    return this.#keptRequest?.whole ?? null;
  }

  /** The whole body of the answer; null if it is not kept, or is too long, or did not come to its end. */
  get response(): Uint8Array | null {
    return this.#keptResponse?.whole ?? null;
  }

  /** Begins to count the silence: the function has the request now. */
  handedOver(): void {
    this.#moved();
    if (this.#deps.idle_timeout_ms !== null) this.#idle.set(this.#deps.idle_timeout_ms);
  }

  /** Returns the body of the request to be read by the function. */
  upload(body: MessageBody): MessageBody {
    if (body instanceof Uint8Array) {
      this.#requestBytes = body.length;
      return body;
    }
    const kept = (this.#keptRequest = this.#keep());
    return passedOn(body, {
      onPiece: (piece) => {
        this.#moved();
        this.#requestBytes += piece.length;
        kept?.add(piece);
      },
      onEnd: () => kept?.end(),
    });
  }

  /**
   * Returns the body of the answer to be read by the caller. One that leaves ends the call: it was cancelled, unless the reader gives an
   * `AppError` as the reason, which is what is wrong with the answer.
   */
  download(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const kept = (this.#keptResponse = this.#keep());
    this.#isWaiting = false;
    return passedOn(body, {
      onWait: () => {
        this.#isWaiting = true;
        this.#moved();
      },
      onPiece: (piece) => {
        this.#isWaiting = false;
        this.#moved();
        this.#responseBytes += piece.length;
        kept?.add(piece);
      },
      onEnd: () => {
        this.#endedAt = this.#deps.clock.monotonic();
        kept?.end();
        this.#settle();
      },
      onFail: () => {
        this.#settle();
        return new Promise((resolve) => void this.#deps.clock.after(CUT_MS, resolve));
      },
      onLeft: (why) => {
        const left = new DOMException("The reader of the answer has left", "AbortError");
        this.#deps.abort(why instanceof AppError ? why : left);
        this.#settle();
      },
    });
  }

  /** Stops the clock, and gives back the memory of what was kept. */
  [Symbol.dispose](): void {
    this.#idle[Symbol.dispose]();
    this.#keptRequest?.[Symbol.dispose]();
    this.#keptResponse?.[Symbol.dispose]();
  }

  #settle(): void {
    this.#idle.clear();
    this.#settled.resolve();
  }

  #keep(): KeptBody | undefined {
    return this.#deps.keep === null ? undefined : new KeptBody(this.#deps.keep.bytes, this.#deps.keep.memory);
  }

  #moved(): void {
    this.#movedAt = this.#deps.clock.monotonic();
  }

  /** Looks when the silence can first be too long: bytes that came since then only move that moment. */
  #check(): void {
    const { clock, idle_timeout_ms, abort } = this.#deps;
    if (idle_timeout_ms === null) return;
    if (!this.#isWaiting) this.#moved();
    const left = this.#movedAt + idle_timeout_ms - clock.monotonic();
    // A timer may be early by a fraction of a millisecond.
    if (left > 0) return this.#idle.set(Math.max(1, left));
    const message = `The call was ended after ${idle_timeout_ms} ms without a byte in either direction: raise "idle_timeout_ms", or let the function send something now and then`;
    abort(new AppError("function_timeout", message));
  }
}

interface Passing {
  /** Called when the reader asks for the next piece. */
  readonly onWait?: () => void;
  readonly onPiece: (piece: Uint8Array) => void;
  /** Called when all of it was passed on. */
  readonly onEnd: () => void;
  /** Awaited when it fails, before its reader is told. */
  readonly onFail?: () => Promise<void>;
  /** Called when the reader wants no more of it. */
  readonly onLeft?: (why: unknown) => void;
}

/** Returns a stream of the same bytes, which asks for the next piece when its reader does. */
function passedOn(body: ReadableStream<Uint8Array>, passing: Passing): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        passing.onWait?.();
        const piece = await reader.read().catch(async (error: unknown): Promise<never> => {
          await passing.onFail?.();
          throw error;
        });
        if (piece.done) {
          passing.onEnd();
          controller.close();
          return;
        }
        passing.onPiece(piece.value);
        controller.enqueue(piece.value);
      },
      cancel: (reason) => {
        passing.onLeft?.(reason);
        return reader.cancel(reason).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

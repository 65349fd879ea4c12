import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { type Callback, callbackBody, callbackOf, type Delivery } from "../../domain/calls/callbacks.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { CALLBACK } from "../../domain/limits.ts";
import { backoff } from "../../domain/functions/retry.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { CallbackSecrets } from "./signing-secrets.ts";
import type { CallbackSender, Sent } from "./sender.ts";

/** The longest sleep, in milliseconds: the time of day may be set, and timers do not notice. */
const LONGEST_SLEEP_MS = 10_000;
/** Before what the disk had no room for is tried again, in milliseconds. */
const STORAGE_MS = 1_000;

/**
 * Sends the results of invocations to where they are wanted. A delivery is written together with the end of its
 * invocation, and waits in the database until it was answered with 2xx, with 410 (the receiver wants no more), or often
 * enough with something else. It is at least once: a server that dies between an answer and its note sends again, under
 * the same id.
 */
export class CallbackService implements AsyncDisposable {
  readonly #store: Pick<Store, "deliveries" | "invocations" | "payloads">;
  readonly #secrets: CallbackSecrets;
  readonly #sender: Pick<CallbackSender, "send">;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** What is being sent, so that nothing is sent beside itself. */
  readonly #sending = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  #started = false;
  #cancelTimer: () => void = () => undefined;

  constructor(options: {
    store: Pick<Store, "deliveries" | "invocations" | "payloads">;
    secrets: CallbackSecrets;
    sender: Pick<CallbackSender, "send">;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#secrets = options.secrets;
    this.#sender = options.sender;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Part of the transaction that ends an invocation: its result is to be sent. What it returns is for after the commit. */
  consequence({ id, callback_url: url }: Invocation): (() => void) | undefined {
    if (url === null) return undefined;
    const due = this.#clock.now();
    this.#store.deliveries.insert({
      ...{ invocation_id: id, url, state: "waiting", due, attempts: 0, last_status: null, last_problem: null },
      ...{ created_at: timestamp(due), delivered_at: null },
    });
    return () => this.wake();
  }

  /** How the result of an invocation gets to its `callback_url`; throws `not_found`. */
  get(invocationId: string): Callback {
    return callbackOf(this.#store.deliveries.get(invocationId) ?? this.#unknown(invocationId));
  }

  /** Sends a result again, from the first attempt on; throws `conflict` where it waits to be sent anyway. */
  async retry(invocationId: string): Promise<Callback> {
    const changed = await this.#store.deliveries.change(invocationId, (current): Delivery => {
      if (current.state === "waiting") throw waits(current);
      return { ...current, state: "waiting", due: this.#clock.now(), attempts: 0, delivered_at: null };
    });
    this.wake();
    return callbackOf(changed ?? this.#unknown(invocationId));
  }

  /** Begins to send what waits, also what an earlier server left. */
  start(): void {
    this.#started = true;
    this.wake();
  }

  /** Stops sending. What is on its way is sent again by the next server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#started = false;
    this.#cancelTimer();
    this.#stop.abort();
    await Promise.all(this.#sending.values());
  }

  /** Sends what is due, as far as there is room, and sleeps until the next is. */
  wake(): void {
    this.#cancelTimer();
    if (!this.#started) return;
    this.#cancelTimer = this.#clock.after(this.#begin(), () => this.wake());
  }

  /** Begins with what is due; returns how long to sleep. */
  #begin(): number {
    try {
      const now = this.#clock.now();
      const most = CALLBACK.at_once;
      // What is being sent is still due: it is among them.
      for (const delivery of this.#store.deliveries.due(now, most)) {
        const { invocation_id: id } = delivery;
        if (this.#sending.size < most && !this.#sending.has(id)) this.#sending.set(id, this.#send(delivery));
      }
      const soonest = this.#store.deliveries.soonest(now);
      return soonest === null ? LONGEST_SLEEP_MS : Math.min(LONGEST_SLEEP_MS, soonest - now);
    } catch (error) {
      this.#log.error("callbacks could not be looked after, will try again", { problem: messageOf(error) });
      return STORAGE_MS;
    }
  }

  async #send(delivery: Delivery): Promise<void> {
    const { invocation_id: id } = delivery;
    try {
      const sent = await this.#attempt(delivery);
      if (sent !== undefined && !this.#stop.signal.aborted) await this.#write(this.#after(delivery, sent));
    } catch (error) {
      this.#log.error("a callback could not be sent, will try again", { request_id: id, error });
      await this.#pause();
    } finally {
      this.#sending.delete(id);
    }
    this.wake();
  }

  async #attempt({ invocation_id: id, url }: Delivery): Promise<Sent | undefined> {
    const invocation = this.#store.invocations.get(id);
    // Its record was let go, and the delivery with it.
    if (invocation === undefined) return undefined;
    const body = callbackBody(invocation, this.#store.payloads.get(id)?.response ?? null);
    const headers = await this.#secrets.headers(id, body);
    return this.#sender.send(url, { headers, body, signal: this.#stop.signal });
  }

  /** What an attempt makes of a delivery. */
  #after(before: Delivery, sent: Sent): Delivery {
    const now = this.#clock.now();
    const attempts = before.attempts + 1;
    const problem = problemOf(sent);
    const last = { attempts, last_status: "status" in sent ? sent.status : null, last_problem: problem };
    if (problem === null) return { ...before, ...last, state: "delivered", delivered_at: timestamp(now) };
    if (last.last_status !== GONE && attempts < CALLBACK.attempts) {
      return { ...before, ...last, due: now + backoff(CALLBACK, attempts, this.#clock.random()) };
    }
    const { invocation_id: request_id } = before;
    this.#log.warn("a callback failed for good", { request_id, attempts, problem });
    return { ...before, ...last, state: "failed" };
  }

  /** Writes how things stand until it is written: what was answered must not be sent again and again to a full disk. */
  async #write(delivery: Delivery): Promise<void> {
    for (;;) {
      try {
        return this.#store.deliveries.save(delivery);
      } catch (error) {
        const { invocation_id: request_id } = delivery;
        this.#log.error("a callback's end is not written, will try again", { request_id, problem: messageOf(error) });
        await this.#pause();
        if (this.#stop.signal.aborted) return;
      }
    }
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(STORAGE_MS, resolve);
    this.#stop.signal.addEventListener("abort", () => resolve(), { once: true });
    if (!this.#stop.signal.aborted) await promise;
    cancel();
  }

  #unknown(id: string): never {
    const shown = JSON.stringify(id.slice(0, 100));
    const record = this.#store.invocations.get(id);
    const why =
      record === undefined
        ? `No invocation ${shown}`
        : record.callback_url === null
          ? `The invocation ${shown} has no "callback_url": give one with the call, or with its function, before`
          : `The invocation ${shown} is ${record.status}: its result is sent when it has one`;
    throw new AppError("not_found", why);
  }
}

/** The receiver wants no more. */
const GONE = 410;

function problemOf(sent: Sent): string | null {
  if ("problem" in sent) return sent.problem;
  const { status } = sent;
  if (status >= 200 && status < 300) return null;
  if (status >= 300 && status < 400) return `It was answered with ${status}, and redirects are not followed`;
  return `It was answered with ${status}`;
}

function waits({ due }: Delivery): AppError {
  return new AppError("conflict", `The callback waits for its next attempt already, at ${timestamp(due)}`);
}

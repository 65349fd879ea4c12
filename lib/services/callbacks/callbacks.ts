import type { Clock } from "../../clock.ts";
import { type Callback, callbackBody, callbackOf, type Delivery } from "../../domain/calls/callbacks.ts";
import { Alarm, aborted, deadline } from "../../domain/concurrency.ts";
import { retryAfterMs } from "../../domain/calls/retry-after.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { backoff } from "../../domain/functions/retry.ts";
import { CALLBACK } from "../../domain/limits.ts";
import { quoted } from "../../domain/quoted.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/store.ts";
import type { Tracing } from "../tracing/tracing.ts";
import { ReceiverTurns } from "./receiver-turns.ts";
import { openfaasCallback } from "./openfaas-callback.ts";
import type { CallbackSender, Sent } from "./sender.ts";
import type { CallbackSecrets } from "./signing-secrets.ts";

/** The longest sleep, in milliseconds: the time of day may be set, and timers do not notice. */
const LONGEST_SLEEP_MS = 10_000;
/** The wait before a write that found no room on the disk is tried again, in milliseconds. */
const STORAGE_MS = 1_000;

interface CallbackDeps {
  readonly store: Pick<Store, "ledger" | "history">;
  readonly secrets: CallbackSecrets;
  readonly sender: Pick<CallbackSender, "send">;
  /** The time for which a callback is tried, in milliseconds. */
  readonly retry_for_ms: number;
  readonly tracing: Pick<Tracing, "delivering" | "delivered">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Sends the results of invocations to their callback URLs. A delivery is written together with the end of its invocation,
 * and waits in the database until it was answered with 2xx, with 410 (the receiver wants no more), or for long enough with
 * something else. It is at least once: a server that dies between an answer and its note sends again, under the same id.
 */
export class CallbackService implements AsyncDisposable {
  readonly #deps: CallbackDeps;
  /** The deliveries under way, so that none is sent twice at the same time. */
  readonly #sending = new Map<string, Promise<void>>();
  readonly #turns = new ReceiverTurns();
  /** The deliveries that were sent since the look under way began: it may have read them as they were before. */
  readonly #sentMeanwhile = new Set<string>();
  readonly #stop = new AbortController();
  readonly #alarm: Alarm;
  #looking: Promise<void> = Promise.resolve();
  #started = false;

  constructor(deps: CallbackDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.clock, () => this.wake());
  }

  /** Returns the state of the callback of an invocation; throws `not_found`. */
  async get(invocationId: string): Promise<Callback> {
    const found = await this.#deps.store.history.delivery(invocationId);
    if (found === undefined) throw await this.#missing(invocationId);
    return callbackOf(found);
  }

  /** Sends a result again, from the first attempt on; throws `conflict` if it waits to be sent anyway. */
  async retry(invocationId: string): Promise<Callback> {
    const resent = await this.#deps.store.ledger.resend(invocationId, this.#deps.clock.now());
    this.wake();
    if (resent === undefined) throw await this.#missing(invocationId);
    return callbackOf(resent);
  }

  /** Begins to send the deliveries that wait, including those that an earlier server left. */
  start(): void {
    this.#started = true;
    this.wake();
  }

  /** Begins to send nothing more, and goes on with what is under way: the server is about to stop. */
  leave(): void {
    this.#started = false;
    this.#alarm.clear();
  }

  /** Stops sending. The next server sends again what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#started = false;
    this.#alarm[Symbol.dispose]();
    this.#stop.abort();
    await this.#looking;
    await Promise.all(this.#sending.values());
  }

  /** Sends what is due, as far as there is room, and sleeps until the next one is. */
  wake(): void {
    this.#alarm.clear();
    if (!this.#started) return;
    // One look after the other: each begins what the one before has left.
    this.#looking = this.#looking.then(async () => {
      const sleepMs = await this.#begin();
      if (this.#started) this.#alarm.setSooner(sleepMs);
    });
  }

  /** Begins to send what is due; returns how long to sleep. Never rejects. */
  async #begin(): Promise<number> {
    if (!this.#started) return LONGEST_SLEEP_MS;
    try {
      const now = this.#deps.clock.now();
      this.#sentMeanwhile.clear();
      const waiting = await this.#deps.store.ledger.receivers();
      for (const receiver of this.#turns.order(waiting, now)) {
        // The end of a sending wakes this service.
        if (this.#sending.size >= CALLBACK.at_once) break;
        await this.#beginTo(receiver, now);
      }
      const later = waiting.filter(({ due }) => due > now).map(({ due }) => due - now);
      return Math.min(LONGEST_SLEEP_MS, ...later);
    } catch (error) {
      this.#deps.log.error("callback tick failed, retrying", { problem: messageOf(error) });
      return STORAGE_MS;
    }
  }

  /** Begins to send what is due to a receiver, as far as there is room. */
  async #beginTo(receiver: string, now: number): Promise<void> {
    // Deliveries under way are still due: they are among them.
    const limit = CALLBACK.to_one_receiver;
    for (const delivery of await this.#deps.store.ledger.dueDeliveries(receiver, { now, limit })) {
      const { invocation_id: id } = delivery;
      if (this.#sending.size >= CALLBACK.at_once || !this.#turns.hasRoom(receiver)) return;
      if (this.#sending.has(id) || this.#sentMeanwhile.has(id)) continue;
      this.#sending.set(id, this.#send(delivery, this.#turns.begin(receiver)));
    }
  }

  async #send(delivery: Delivery, ended: () => void): Promise<void> {
    const { invocation_id: id } = delivery;
    try {
      const sent = await this.#attempt(delivery);
      if (sent !== undefined && !this.#stop.signal.aborted) await this.#write(this.#after(delivery, sent));
    } catch (error) {
      this.#deps.log.error("a callback could not be sent, will try again", { request_id: id, error });
      await this.#pause();
    } finally {
      ended();
      this.#sending.delete(id);
      this.#sentMeanwhile.add(id);
    }
    this.wake();
  }

  async #attempt({ invocation_id: id, url, attempts }: Delivery): Promise<Sent | undefined> {
    const { history } = this.#deps.store;
    const { clock, tracing } = this.#deps;
    const invocation = await history.get(id);
    // Its record was removed, and the delivery with it.
    if (invocation === undefined) return undefined;
    const payload = await history.payload(id);
    const { body, headers: own } = openfaasCallback(invocation, payload, url) ?? {
      body: callbackBody(invocation, payload?.response ?? null),
      headers: {},
    };
    const headers = { ...own, ...(await this.#deps.secrets.headers(invocation, body)) };
    const attempt = attempts + 1;
    const span = tracing.delivering(invocation, attempt);
    const began = clock.now();
    const sent = await this.#deps.sender.send(url, {
      headers: { ...headers, ...span.headers },
      body,
      signal: this.#stop.signal,
    });
    const { span_id } = span;
    const status = "status" in sent ? sent.status : null;
    const has_failed = sendProblem(sent) !== null;
    tracing.delivered(invocation, { span_id, attempt, url, status, has_failed, began, ended: clock.now() });
    return sent;
  }

  /** Returns a delivery as it is after an attempt to send it. */
  #after(before: Delivery, sent: Sent): Delivery {
    const now = this.#deps.clock.now();
    const attempts = before.attempts + 1;
    const problem = sendProblem(sent);
    const last = { attempts, last_status: "status" in sent ? sent.status : null, last_problem: problem };
    if (problem === null) return { ...before, ...last, state: "delivered", delivered_at: timestamp(now) };
    const end = before.since + this.#deps.retry_for_ms;
    if (last.last_status !== GONE && now < end) {
      const wait = backoff(CALLBACK, attempts, this.#deps.clock.random());
      const asked = "status" in sent ? Math.min(retryAfterMs(sent.retry_after, now), CALLBACK.max_ms) : 0;
      // The last attempt is made when its time is over: a receiver that is back by then still gets it.
      return { ...before, ...last, due: Math.min(now + Math.max(wait, asked), end) };
    }
    const { invocation_id: request_id } = before;
    this.#deps.log.warn("a callback failed for good", { request_id, attempts, problem, ...detailOf(sent) });
    return { ...before, ...last, state: "failed" };
  }

  /** Writes the state of a delivery until it is written: an answered one must not be sent again and again while the disk is full. */
  async #write(delivery: Delivery): Promise<void> {
    for (;;) {
      try {
        return await this.#deps.store.ledger.saveDelivery(delivery);
      } catch (error) {
        const { invocation_id: request_id } = delivery;
        this.#deps.log.error("a callback's end is not written, will try again", {
          request_id,
          problem: messageOf(error),
        });
        await this.#pause();
        if (this.#stop.signal.aborted) return;
      }
    }
  }

  async #pause(): Promise<void> {
    using limit = deadline(this.#deps.clock, STORAGE_MS, this.#stop.signal);
    await aborted(limit.signal);
  }

  async #missing(id: string): Promise<AppError> {
    const record = await this.#deps.store.history.get(id);
    const why =
      record === undefined
        ? `No invocation ${quoted(id)}`
        : record.callback_url === null
          ? `The invocation ${quoted(id)} has no "callback_url": give one with the call, or with its function, before`
          : `The invocation ${quoted(id)} is ${record.status}: its result is sent when it has one`;
    return new AppError("not_found", why);
  }
}

/** The receiver wants no more. */
const GONE = 410;

function detailOf(sent: Sent): { readonly detail?: string } {
  return "detail" in sent ? { detail: sent.detail } : {};
}

function sendProblem(sent: Sent): string | null {
  if ("problem" in sent) return sent.problem;
  const { status } = sent;
  if (status >= 200 && status < 300) return null;
  if (status >= 300 && status < 400) return `It was answered with ${status}, and redirects are not followed`;
  return `It was answered with ${status}`;
}

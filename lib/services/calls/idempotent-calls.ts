import type { Clock } from "../../clock.ts";
import { type BufferedRequest, bytesOf } from "../../domain/calls/http-message.ts";
import type { IdempotentRequest } from "../../domain/calls/idempotency.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { aborted, TaskGroup } from "../../domain/concurrency.ts";
import { AppError, type Reason } from "../../domain/errors.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { IdempotencyKey, Ledger, StoredAnswer } from "../../store/ledger.ts";
import type { Answer, InvokeCall } from "./call.ts";
import type { InvocationService } from "./invocations.ts";
import { newRecord } from "./record.ts";
import type { ResultService } from "./results.ts";
import { readStoredResponse, storedResponse } from "./stored-messages.ts";
import { teed } from "./bodies/teed.ts";

/** The time from the last byte of an answer to the end of its record, in milliseconds: a function may still be ending. */
const ENDING_MS = 60_000;

/** The tries to forget a key of which it is not known whether it was written, and the wait before each, in milliseconds. */
const DROPS = 30;
const DROP_MS = 2_000;

interface IdempotentDeps {
  readonly ledger: Pick<Ledger, "keepKey" | "keepAnswer" | "dropKey">;
  readonly invocations: Pick<InvocationService, "invoke" | "undelivered">;
  readonly results: Pick<ResultService, "wait">;
  /** The longest answer that is kept of one that its caller reads while it comes. */
  readonly kept_bytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The answer to a call with a key: the function's, or the queued invocation if the first request was asynchronous. */
export type IdempotentAnswer =
  | { readonly answer: Answer; readonly replayed: boolean; readonly ended: Promise<Invocation> }
  | { readonly queued: Invocation };

/** A call with a key, whose request has arrived as a whole: the key stands for all of it. */
type KeyedCall = InvokeCall & { readonly request: BufferedRequest };

/** The key of a request that has just come. */
type KeyNow = IdempotencyKey & Pick<IdempotentRequest, "is_optional">;

/** A call that was made, or what the first request with its key was answered. */
type Made = { readonly answer: Answer } | { readonly first: StoredAnswer };

/**
 * Makes synchronous calls that come with an Idempotency-Key: the first request with a key calls the function, those that come
 * meanwhile wait for its answer, and later ones get the answer that is stored. The key is on the disk before the call begins,
 * so that no call is made twice: if the server ends before the answer is stored, nobody knows what the function did, and
 * later requests are told so. The call runs to its end when its client goes away, which can then ask again.
 */
export class IdempotentCalls {
  readonly #deps: IdempotentDeps;
  /** The calls under way, by the ids of their invocations. */
  readonly #running = new Map<string, Promise<Made>>();
  readonly #tasks = new TaskGroup();

  constructor(deps: IdempotentDeps) {
    this.#deps = deps;
  }

  /** Returns the answer to a call. Throws `idempotency_mismatch` if its key came with another request, and what calls throw. */
  async invoke(call: KeyedCall, request: IdempotentRequest): Promise<IdempotentAnswer> {
    return this.#invoke(call, request, undefined);
  }

  /** The same for a caller who reads the answer while it comes; one who asks for it later gets it as a whole, once it has. */
  async stream(call: KeyedCall, request: IdempotentRequest): Promise<IdempotentAnswer> {
    return this.#invoke(call, request, Promise.withResolvers<Made>());
  }

  async #invoke(
    call: KeyedCall,
    request: IdempotentRequest,
    head: PromiseWithResolvers<Made> | undefined,
  ): Promise<IdempotentAnswer> {
    const { id, signal } = call;
    const made = this.#tasks.add(this.#make(call, { ...request, now: this.#deps.clock.now() }, head?.resolve));
    // Before the key is kept: whoever finds that must find the call, too.
    this.#running.set(id, made);
    // And whoever has found the key without an answer must still find the call.
    const forget = () => void setImmediate(() => this.#running.delete(id));
    made.then(forget, forget);
    const first = head === undefined ? made : Promise.race([made, head.promise]);
    const own = await untilGone(first, signal).catch((error: unknown): never => {
      if (signal.aborted) this.#noteUndelivered(made);
      throw error;
    });
    if (!("answer" in own)) return this.#repeat(own.first, call);
    const ended = made.then((whole) => ("answer" in whole ? whole.answer.invocation : own.answer.invocation));
    ended.catch(() => undefined);
    return { answer: own.answer, replayed: false, ended };
  }

  /** Notes, once there is an answer, that the client who made the call has gone. */
  #noteUndelivered(made: Promise<Made>): void {
    const note = (own: Made) => {
      if ("answer" in own && own.answer.response !== null) {
        this.#deps.invocations.undelivered(own.answer.invocation.id, "client_closed");
      }
    };
    // The code that makes calls logs its error.
    void made.then(note, () => undefined);
  }

  /** Runs `then` when the call with that id has ended and needs its request no longer: at once unless it is under way. */
  whenEnded(id: string, then: () => void): void {
    const made = this.#running.get(id);
    if (made === undefined) then();
    else void made.then(then, then);
  }

  /** Waits for the calls under way, which end as all calls do. */
  settled(): Promise<void> {
    return this.#tasks.settled();
  }

  async #make(call: KeyedCall, key: KeyNow, onHead?: (made: Made) => void): Promise<Made> {
    const { ledger, invocations } = this.#deps;
    const { id, target, request } = call;
    const record = newRecord(id, target, request.body.length, timestamp(key.now));
    const collect = onHead === undefined;
    const make = () => invocations.invoke({ ...call, collect, signal: new AbortController().signal });
    const first = await this.#keepKey(record, key);
    if (first === "unkept") return { answer: await readable(await make()) };
    if (first !== undefined) return { first };
    try {
      const answer = await make();
      if (answer.not_begun !== true) return { answer: await this.#keep(await this.#passOn(answer, onHead)) };
      await ledger.dropKey(record, key);
      return { answer };
    } catch (error) {
      await ledger.dropKey(record, key);
      throw error;
    }
  }

  /** Keeps a key; a call that may do without is made all the same while the database does not answer. */
  async #keepKey(record: Invocation, key: KeyNow): Promise<StoredAnswer | "unkept" | undefined> {
    try {
      return await this.#deps.ledger.keepKey(record, key);
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "database_unavailable") throw error;
      if (key.is_optional !== true) {
        void this.#dropLater(record, key);
        throw error;
      }
      this.#deps.log.warn("a call is made without its key, as the database does not answer", { request_id: record.id });
      return "unkept";
    }
  }

  /** Forgets a key that may have been written although the database did not say so: no call was made with it. Never rejects. */
  async #dropLater(record: Invocation, key: IdempotencyKey): Promise<void> {
    const { ledger, clock } = this.#deps;
    for (let tries = 0; tries < DROPS; tries++) {
      await new Promise<void>((resolve) => clock.after(DROP_MS, resolve));
      const isDropped = await ledger.dropKey(record, key).then(
        () => true,
        () => false,
      );
      if (isDropped) return;
    }
  }

  /** Lets the caller read an answer that streams, and returns it when it has ended; without its body if that is too long or was cut. */
  async #passOn(answer: Answer, onHead: ((made: Made) => void) | undefined): Promise<Answer> {
    const { invocation, response } = answer;
    if (onHead === undefined || response === null || response.body instanceof Uint8Array) return answer;
    const { live, whole } = teed(response.body, this.#deps.kept_bytes);
    onHead({ answer: { ...answer, response: { ...response, body: live } } });
    const body = await whole;
    // It was made: whatever keeps its record from being read now, its key stays.
    const waited = this.#deps.results.wait(invocation.id, ENDING_MS, new AbortController().signal);
    const ended = await waited.catch(() => invocation);
    return { ...answer, invocation: ended, response: body && { ...response, body } };
  }

  /** Stores an answer, and returns it so that it can be read more than once. */
  async #keep(answer: Answer): Promise<Answer> {
    const { invocation, response } = answer;
    // Calls that a stopping server has cut off are reported as lost.
    if (invocation.reason === "shutting_down") return answer;
    const body = response === null ? null : await bytesOf(response.body);
    try {
      const response_meta = response === null ? null : storedResponse(response);
      await this.#deps.ledger.keepAnswer({ invocation, response: body, response_meta });
    } catch (error) {
      this.#deps.log.error("the answer to a request with an Idempotency-Key is not stored", {
        request_id: invocation.id,
        error,
      });
    }
    return { ...answer, response: response && body && { ...response, body } };
  }

  async #repeat(first: StoredAnswer, { request: { via }, signal }: KeyedCall): Promise<IdempotentAnswer> {
    const { invocation } = first;
    if (invocation.mode === "async") return { queued: invocation };
    const running = this.#running.get(invocation.id);
    const made = running && (await untilGone(running, signal));
    const answer =
      made !== undefined && "answer" in made
        ? made.answer
        : storedAnswer(first, { ownOrigin: via?.host !== undefined });
    return { answer, replayed: true, ended: Promise.resolve(answer.invocation) };
  }
}

/** Returns an answer whose body can be read more than once. */
async function readable(answer: Answer): Promise<Answer> {
  const { response } = answer;
  return { ...answer, response: response && { ...response, body: await bytesOf(response.body) } };
}

function storedAnswer(
  { invocation, response, response_meta }: StoredAnswer,
  { ownOrigin }: { readonly ownOrigin: boolean },
): Answer {
  const refused = (reason: Reason, message: string): Answer => ({
    invocation: { ...invocation, status: "failed", reason, message },
    response: null,
  });
  if (invocation.status === "running") {
    return refused(
      "instance_lost",
      "The server ended before the first request with this Idempotency-Key was answered, so it is not known what the function did: send a new key to call it again",
    );
  }
  if (response_meta === null) return { invocation, response: null };
  if (response === null) {
    return refused(
      "storage_full",
      `The first request with this Idempotency-Key ${invocation.status}, but there was no room for its answer within QUEUE_BYTES: send a new key to call the function again`,
    );
  }
  const head = readStoredResponse(response_meta, { succeeded: invocation.status === "succeeded", ownOrigin });
  return { invocation, response: { ...head, body: response } };
}

/** Waits for a call; throws once its client is gone. */
function untilGone<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  const gone = aborted(signal).then((): never => {
    throw new AppError("cancelled", "The client went away before the function had answered");
  });
  return Promise.race([call, gone]);
}

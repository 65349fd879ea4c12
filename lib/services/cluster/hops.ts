import type { Clock } from "../../clock.ts";
import { codeOf, AppError, messageOf } from "../../domain/errors.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import type { Runner } from "../../runner/runner.ts";
import type { Elsewhere, InvokeCall, PassedOn } from "../calls/call.ts";
import { whyGone } from "../calls/record.ts";
import { takesConnections, untilLost } from "./connections.ts";
import { AnswerReader } from "./wire/hop-answer.ts";
import { encodeCall, type HopCall } from "./wire/hop-message.ts";
import { HOP_PATH, REFUSAL_HEADER, signHop } from "./hop-signature.ts";
import { DIRECT, type Peer, type Peers } from "./peers.ts";

/**
 * The time in which a server must have taken an instance for a call that is passed on to it, or refused it, in milliseconds: a busy one
 * is late, and one that has not reported itself for so long counts as dead.
 */
const ACCEPT_MS = 10_000;
/**
 * The time that a server has besides the function's own to send the answer, in milliseconds; the next frame of one that goes on for longer;
 * and that the record is final.
 */
const ANSWER_MS = 10_000;

/** The codes of errors that come before any of a request is sent: a refused connection, or a certificate that is not trusted. */
const UNSENT = /^(?:ECONNREFUSED|ConnectionRefused|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)$|CERT|^UNABLE_TO_/;

interface HopsDeps {
  readonly runner: Pick<Runner, "isOpenTo" | "versionKey">;
  readonly peers: Peers;
  readonly key: Uint8Array;
  readonly version: string;
  /** The most bytes of an answer that comes as a whole. */
  readonly whole_bytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A call with its whole body, and what ends it besides its client. */
interface PassedCall {
  readonly call: InvokeCall;
  readonly body: Uint8Array;
  readonly stopped: AbortSignal;
}

/**
 * Passes a call that finds no ready instance here on to a server that has reported one: once, and never a call that was passed on
 * itself. If that server refuses it before any of it has reached a function, it is made here. An answer and a refusal count only with
 * that server's signature: whoever else answers may have let it run.
 */
export class Hops implements Elsewhere {
  readonly #deps: HopsDeps;

  constructor(deps: HopsDeps) {
    this.#deps = deps;
  }

  invoke(call: InvokeCall, stopped: AbortSignal): Promise<PassedOn | undefined> | undefined {
    const { body, upgrade } = call.request;
    // A body that still arrives can be sent once only, and the other server may refuse it.
    if (call.ready_only === true || !(body instanceof Uint8Array) || upgrade === true) return undefined;
    const { runner, peers } = this.#deps;
    const fn = call.target.function;
    if (runner.isOpenTo(fn)) return undefined;
    const key = runner.versionKey(fn);
    const peer = peers.choose(key);
    return peer && this.#forward({ call, body, stopped }, peer, key);
  }

  async #forward({ call, body, stopped }: PassedCall, peer: Peer, key: string): Promise<PassedOn | undefined> {
    const { peers, clock, log } = this.#deps;
    const hop = new Hop(clock, [call.signal, stopped]);
    const where = { request_id: call.id, server: peer.id };
    let isAccepted = false;
    let isPassedOn = false;
    try {
      if (!(await takesConnections(peer.url, clock, hop.signal))) {
        if (hop.signal.aborted) return undefined;
        peers.doubt(peer);
        log.warn("another server cannot be reached", where);
        return undefined;
      }
      hop.limit(ACCEPT_MS);
      const reader = await this.#send(call, body, peer, hop);
      if (reader === undefined) {
        peers.note(peer, key, 0);
        log.debug("another server has refused a call", where);
        return undefined;
      }
      peers.note(peer, key, await reader.accepted());
      isAccepted = true;
      log.debug("call passed on", where);
      hop.limit(call.target.function.timeout_ms + KILL_GRACE_MS + TIMEOUT_SLACK_MS + ANSWER_MS);
      void untilLost(peer.url, clock, hop.ended).then((isLost) => isLost && hop.abort("It has vanished"));
      const answer = await reader.answer();
      isPassedOn = true;
      // Of a body that streams, the reader takes the next piece when it likes.
      hop.unlimit();
      const recorded = reader.answered.then(() => {
        hop.limit(ANSWER_MS);
        return reader.recorded().finally(() => hop.end());
      });
      return { answer, answered: reader.answered, recorded };
    } catch (error) {
      // Its client has gone, or this server stops: the call ends here, and there.
      const ended = [call.signal, stopped].find(({ aborted }) => aborted);
      if (ended !== undefined && isAccepted) throw whyGone(ended);
      if (ended !== undefined) return undefined;
      // That server lives, and has less room for answers.
      if (error instanceof AppError) throw error;
      peers.doubt(peer);
      const isUnsent = UNSENT.test(codeOf(error));
      log.warn("another server does not answer", { ...where, problem: messageOf(error) });
      if (isUnsent) return undefined;
      throw new AppError(
        "instance_lost",
        "The call was passed on to another server, which was lost before its answer came: the function may have run",
        { cause: error },
      );
    } finally {
      if (!isPassedOn) hop.end();
    }
  }

  /** Returns the reader of the answer; undefined if that server refuses the call. */
  async #send(call: InvokeCall, body: Uint8Array, peer: Peer, hop: Hop): Promise<AnswerReader | undefined> {
    const { key, clock, whole_bytes } = this.#deps;
    const message = encodeCall(this.#head(call), body);
    const { headers, seal } = signHop(key, peer, message, clock.now());
    const response = await fetch(`${peer.url}${HOP_PATH}`, {
      method: "POST",
      body: message,
      headers: { ...headers, "Content-Type": "application/octet-stream" },
      signal: hop.signal,
      // The call has limits of its own.
      timeout: false,
      ...DIRECT,
    } satisfies BunFetchRequestInit);
    if (seal.isRefusal(response.headers.get(REFUSAL_HEADER))) return undefined;
    if (response.status !== 200 || response.body === null)
      throw new Error(
        `It answers ${response.status} without a signature: is its ADVERTISE_URL the address of another program?`,
      );
    return new AnswerReader(response.body, { seal, whole_bytes, within: (frame) => hop.within(frame) });
  }

  #head(call: InvokeCall): HopCall {
    const { id, target, request, collect = false, reads_record = false } = call;
    const { body: _body, ...head } = request;
    const { id: function_id, version, updated_at } = target.function;
    const { route_id, key_id } = target;
    const of = { function_id, version, updated_at, route_id, key_id };
    return { slipway: this.#deps.version, id, ...of, collect, reads_record, request: head };
  }
}

/** The request by which a call is passed on, and what ends it: its time, the client, or the end of this server. */
class Hop {
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #end = new AbortController();
  readonly #stops: readonly (() => void)[];
  #cancelTimer: () => void = () => undefined;
  #until = 0;

  constructor(clock: Clock, endedBy: readonly AbortSignal[]) {
    this.#clock = clock;
    this.#stops = endedBy.map((signal) => onAbort(signal, () => this.#abort.abort(signal.reason)));
  }

  /** Aborts to end the request. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Aborts when the request is over. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  abort(why: string): void {
    this.#abort.abort(new Error(why));
  }

  /** Limits the time from now on; an earlier limit ends. */
  limit(ms: number): void {
    this.#until = this.#clock.monotonic() + ms;
    this.#setTimer(ms);
  }

  /** Ends the limit for now. */
  unlimit(): void {
    this.#cancelTimer();
  }

  /** Limits the time for a part: it may come until the limit is over, and for `ANSWER_MS` in any case. */
  async within<T>(part: Promise<T>): Promise<T> {
    this.#setTimer(Math.max(this.#until - this.#clock.monotonic(), ANSWER_MS));
    try {
      return await part;
    } finally {
      this.unlimit();
    }
  }

  /** Closes the connection, whatever still comes. */
  end(): void {
    this.#cancelTimer();
    for (const stop of this.#stops) stop();
    this.#end.abort();
    this.#abort.abort();
  }

  #setTimer(ms: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(ms, () => this.abort("It has not answered in time"));
  }
}

import type { Clock } from "../../clock.ts";
import { codeOf, AppError, messageOf } from "../../domain/errors.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import type { Runner } from "../../runner/runner.ts";
import type { Answer, Elsewhere, InvokeCall } from "../calls/call.ts";
import { whyGone } from "../calls/record.ts";
import { takesConnections, untilLost } from "./connections.ts";
import { AnswerReader, encodeCall } from "./hop-message.ts";
import { HOP_PATH, signHop } from "./hop-signature.ts";
import { DIRECT, type Peer, type Peers } from "./peers.ts";

/**
 * The time in which a server must have taken an instance for a call that is passed on to it, or refused it, in milliseconds: a busy one
 * is late, and one that has not reported itself for so long counts as dead.
 */
const ACCEPT_MS = 10_000;
/** The time that a server has besides the function's own to send the answer, in milliseconds. */
const ANSWER_MS = 10_000;

/** The codes of errors that come before any of a request is sent: a refused connection, or a certificate that is not trusted. */
const UNSENT = /^(?:ECONNREFUSED|ConnectionRefused|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)$|CERT|^UNABLE_TO_/;

/** The header of an answer with the number of calls of the same function that ready instances could serve at once besides. */
export const READY_CALLS_HEADER = "X-Slipway-Ready-Calls";

interface HopsDeps {
  readonly runner: Pick<Runner, "isOpenTo" | "versionKey">;
  readonly peers: Peers;
  readonly key: Uint8Array;
  readonly version: string;
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
 * itself. If that server refuses it before any of it has reached a function, it is made here.
 */
export class Hops implements Elsewhere {
  readonly #deps: HopsDeps;

  constructor(deps: HopsDeps) {
    this.#deps = deps;
  }

  invoke(call: InvokeCall, stopped: AbortSignal): Promise<Answer | undefined> | undefined {
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

  async #forward({ call, body, stopped }: PassedCall, peer: Peer, key: string): Promise<Answer | undefined> {
    const { peers, clock, log } = this.#deps;
    const abort = new AbortController();
    const listening = [call.signal, stopped].map((signal) => onAbort(signal, () => abort.abort(signal.reason)));
    let isAccepted = false;
    const late = (ms: number) => clock.after(ms, () => abort.abort(new Error("It has not answered in time")));
    const end = new AbortController();
    let cancelTimer: () => void = () => undefined;
    try {
      if (!(await takesConnections(peer.url, clock, abort.signal))) {
        if (abort.signal.aborted) return undefined;
        peers.doubt(peer);
        log.warn("another server cannot be reached", { request_id: call.id, server: peer.id });
        return undefined;
      }
      cancelTimer = late(ACCEPT_MS);
      const response = await this.#send(call, body, peer, abort.signal);
      cancelTimer();
      peers.note(peer, key, Number(response.headers.get(READY_CALLS_HEADER) ?? 0));
      if (response.status !== 200 || response.body === null) {
        await response.arrayBuffer();
        log.debug("another server has refused a call", {
          request_id: call.id,
          server: peer.id,
          status: response.status,
        });
        return undefined;
      }
      isAccepted = true;
      log.debug("call passed on", { request_id: call.id, server: peer.id });
      void untilLost(peer.url, clock, end.signal).then((isLost) => isLost && abort.abort(new Error("It has vanished")));
      cancelTimer = late(call.target.function.timeout_ms + KILL_GRACE_MS + TIMEOUT_SLACK_MS + ANSWER_MS);
      return await new AnswerReader(response.body).answer();
    } catch (error) {
      // Its client has gone, or this server stops: the call ends here, and there.
      const ended = [call.signal, stopped].find(({ aborted }) => aborted);
      if (ended !== undefined && isAccepted) throw whyGone(ended);
      if (ended !== undefined) return undefined;
      peers.doubt(peer);
      const isUnsent = UNSENT.test(codeOf(error));
      log.warn("another server does not answer", { request_id: call.id, server: peer.id, problem: messageOf(error) });
      if (isUnsent) return undefined;
      throw new AppError(
        "instance_lost",
        "The call was passed on to another server, which was lost before its answer came: the function may have run",
        { cause: error },
      );
    } finally {
      cancelTimer();
      end.abort();
      for (const stop of listening) stop();
    }
  }

  #send(call: InvokeCall, body: Uint8Array, peer: Peer, signal: AbortSignal): Promise<Response> {
    const { id, target, request, collect = false } = call;
    const { body: _body, ...head } = request;
    const { id: function_id, version, updated_at } = target.function;
    const { route_id, key_id } = target;
    const { key, version: slipway, clock } = this.#deps;
    const of = { function_id, version, updated_at, route_id, key_id };
    const message = encodeCall({ slipway, id, ...of, collect, request: head }, body);
    return fetch(`${peer.url}${HOP_PATH}`, {
      method: "POST",
      body: message,
      headers: { ...signHop(key, peer, message, clock.now()), "Content-Type": "application/octet-stream" },
      signal,
      // The call has limits of its own.
      timeout: false,
      ...DIRECT,
    } satisfies BunFetchRequestInit);
  }
}

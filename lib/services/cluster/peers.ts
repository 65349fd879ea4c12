import type { Clock } from "../../clock.ts";
import type { Member } from "../../store/members.ts";
import { HOP_PATH, REFUSAL_HEADER, signHop } from "./hop-signature.ts";
import type { Members } from "./members.ts";

/** The time after which a server that did not answer is asked whether it does again, in milliseconds. */
const REST_MS = 10_000;
/** The time that it has to answer then, in milliseconds. */
const PROBE_MS = 1_000;

/** Another server that can be passed calls on to. */
export type Peer = Member & { readonly url: string };

interface PeersDeps {
  readonly members: Pick<Members, "others">;
  /** The version of Slipway: servers of another one do not understand this one's calls. */
  readonly version: string;
  readonly key: Uint8Array;
  readonly clock: Pick<Clock, "now" | "monotonic">;
}

/** Chooses the server that a call is passed on to: the one whose ready instances could serve the most of its function, as far as is known. */
export class Peers {
  readonly #deps: PeersDeps;
  /** The ready calls that are left of a server's report: each call that is passed on takes one, and each answer says how many there are. */
  readonly #left = new WeakMap<Member, Map<string, number>>();
  /** Servers that did not answer, by address, and when they may be asked whether they do again. */
  readonly #silent = new Map<string, number>();

  constructor(deps: PeersDeps) {
    this.#deps = deps;
  }

  /** Returns a server with a ready instance for a call, and counts the call; undefined if there is none. `key` is the function's version. */
  choose(key: string): Peer | undefined {
    let best: Peer | undefined;
    let most = 0;
    for (const member of this.#deps.members.others) {
      if (!isPeer(member) || member.version !== this.#deps.version) continue;
      const calls = this.#readyCallsOf(member, key);
      if (calls <= most || !this.#answers(member)) continue;
      best = member;
      most = calls;
    }
    if (best !== undefined) this.note(best, key, most - 1);
    return best;
  }

  /** Notes how many calls the ready instances of a server could serve. */
  note(peer: Peer, key: string, calls: number): void {
    const left = this.#left.get(peer);
    if (left === undefined) this.#left.set(peer, new Map([[key, calls]]));
    else left.set(key, calls);
  }

  /** Notes that a server did not answer: it gets no calls until it answers again. */
  doubt({ url }: Peer): void {
    this.#silent.set(url, this.#deps.clock.monotonic() + REST_MS);
  }

  #readyCallsOf(member: Member, key: string): number {
    return this.#left.get(member)?.get(key) ?? member.ready_calls[key] ?? 0;
  }

  #answers(peer: Peer): boolean {
    const until = this.#silent.get(peer.url);
    if (until === undefined) return true;
    const now = this.#deps.clock.monotonic();
    if (now >= until) {
      this.#silent.set(peer.url, now + REST_MS);
      void this.#probe(peer);
    }
    return false;
  }

  /** Sends a call without content, which only the server itself can refuse. Never rejects. */
  async #probe(peer: Peer): Promise<void> {
    const { key, clock } = this.#deps;
    const body = new Uint8Array();
    const { headers, seal } = signHop(key, peer, body, clock.now());
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(PROBE_MS)]);
    try {
      const response = await fetch(`${peer.url}${HOP_PATH}`, { method: "POST", body, headers, signal, ...DIRECT });
      if (seal.isRefusal(response.headers.get(REFUSAL_HEADER))) this.#silent.delete(peer.url);
    } catch {
      // It still does not answer.
    } finally {
      abort.abort();
    }
  }
}

/**
 * The settings of a request to another server. It has a connection of its own: on one that was used before, nobody knows whether a
 * request that fails has arrived.
 */
export const DIRECT = { keepalive: false, redirect: "manual", proxy: "", decompress: false } as const;

/** Returns whether a server can be reached. */
export function isPeer(member: Member): member is Peer {
  return member.url !== null;
}

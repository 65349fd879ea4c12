import type { Server } from "bun";

/** The longest times for which no byte may move on a connection, in milliseconds. */
export interface IdleTimeouts {
  /** Between an answer and the next request. Bun adds up to 4 s, and allows 10 s for the first request of a connection. */
  readonly keep_alive_ms: number;
  /** In the middle of a request's body or of an answer. */
  readonly stall_ms: number;
}

/** Bun counts time-outs in steps of 4 s: one may fire so much early. */
const BUN_STEP_S = 4;

/** Returns the seconds to give to Bun so that a connection stays open for at least so many milliseconds. */
export function bunTimeout(ms: number): number {
  return Math.ceil(ms / 1_000) + BUN_STEP_S;
}

/** Switches the idle timeout of a request's connection. */
export interface Watching {
  /**
   * Lifts it, because the client has sent everything and waits for us. Until `watch` is called Bun never closes the
   * connection, not even when the answer is out and no other request comes.
   */
  readonly unwatch: (request: Request) => void;
  /** Sets it again. Call it before the answer is returned: afterwards is too late. */
  readonly watch: (request: Request) => void;
}

/**
 * Watches the connections of a server. The server is not taken from the context of a request: Elysia defines that property
 * anew for each request if any handler asks for it.
 */
export function watching(server: () => Server<unknown> | null, { keep_alive_ms }: IdleTimeouts): Watching {
  const idleS = bunTimeout(keep_alive_ms);
  return {
    unwatch: (request) => server()?.timeout(request, 0),
    watch: (request) => server()?.timeout(request, idleS),
  };
}

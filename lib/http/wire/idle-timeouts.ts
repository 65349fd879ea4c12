import type { Server } from "bun";

/** The times that the server waits for clients. */
export interface IdleTimeouts {
  /** Seconds that a connection may be idle between requests. Bun counts in steps of four, and allows 10 s for headers. */
  readonly idle_s: number;
  /** Milliseconds within which a whole body must arrive. */
  readonly body_ms: number;
}

export const IDLE_TIMEOUTS: IdleTimeouts = { idle_s: 10, body_ms: 60_000 };

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
export function watching(server: () => Server<unknown> | null, { idle_s }: IdleTimeouts): Watching {
  return {
    unwatch: (request) => server()?.timeout(request, 0),
    watch: (request) => server()?.timeout(request, idle_s),
  };
}

import type { Server } from "bun";

/** How long the server waits for clients. */
export interface IdleTimeouts {
  /** Seconds that a connection may be idle between requests. Bun counts in steps of four, and has 10 s of its own for headers. */
  readonly idle_s: number;
  /** A body must have come within this time, however slowly it drips, in milliseconds. */
  readonly body_ms: number;
}

export const IDLE_TIMEOUTS: IdleTimeouts = { idle_s: 10, body_ms: 60_000 };

/** How the patience with the connection of a request changes. */
export interface Watching {
  /**
   * Lets it be silent: its client has said all it has to say, and now waits for us. Until `watch` says otherwise Bun
   * would never close it, not even when the answer is out and no other request comes.
   */
  readonly unwatch: (request: Request) => void;
  /** Closes it again when it is idle; to be called before the answer is returned, afterwards is too late. */
  readonly watch: (request: Request) => void;
}

/**
 * Watches the connections of a server. Not of the one that the context of a request names: Elysia defines that property
 * anew for each request, as soon as anyone in the app asks for it.
 */
export function watching(server: () => Server<unknown> | null, { idle_s }: IdleTimeouts): Watching {
  return {
    unwatch: (request) => server()?.timeout(request, 0),
    watch: (request) => server()?.timeout(request, idle_s),
  };
}

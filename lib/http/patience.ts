import type { Server } from "bun";

/** How long the server waits for clients. */
export interface Patience {
  /** Seconds that a connection may be idle between requests. Bun counts in steps of four, and has 10 s of its own for headers. */
  readonly idle_s: number;
  /** A body must have come within this time, however slowly it drips, in milliseconds. */
  readonly body_ms: number;
}

export const PATIENCE: Patience = { idle_s: 10, body_ms: 60_000 };

/**
 * Lets a connection be silent: its client has said all it has to say, and now waits for us. Until `watch` says
 * otherwise Bun would never close it, not even when the answer is out and no other request comes.
 */
export function unwatch(request: Request, server: Server<unknown> | null): void {
  server?.timeout(request, 0);
}

/** Closes the connection again when it is idle; to be called before the answer is returned, afterwards is too late. */
export function watch(request: Request, server: Server<unknown> | null, { idle_s }: Patience): void {
  server?.timeout(request, idle_s);
}

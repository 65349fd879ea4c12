import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";

/** The time that a server has to take a connection, in milliseconds: its kernel does that, however busy it is. */
const CONNECT_MS = 1_000;
/** The time between two looks at a server that runs a call, in milliseconds, and how many must fail in a row: half a minute together. */
const LOOK_MS = 10_000;
const LOOKS = 3;

/**
 * Returns whether a server takes connections; false at once if the signal aborts. A machine that has vanished refuses none, and fetch
 * does not distinguish a connection that could not be made from an answer that did not come.
 */
export async function takesConnections(
  url: string,
  clock: Pick<Clock, "after">,
  signal: AbortSignal,
): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url);
  const { connect } = process.getBuiltinModule("node:net");
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port) || (protocol === "https:" ? 443 : 80),
  });
  socket.once("connect", () => resolve(true));
  socket.on("error", () => resolve(false));
  const cancelTimer = clock.after(CONNECT_MS, () => resolve(false));
  const stop = onAbort(signal, () => resolve(false));
  try {
    return await promise;
  } finally {
    cancelTimer();
    stop();
    socket.destroy();
  }
}

/**
 * Watches a server that runs a call, until the signal aborts. Resolves with true once it has taken no connection for half a minute: it has
 * vanished, and no answer will come.
 */
export async function untilLost(url: string, clock: Pick<Clock, "after">, signal: AbortSignal): Promise<boolean> {
  for (let missed = 0; missed < LOOKS;) {
    await pause(LOOK_MS, clock, signal);
    if (signal.aborted) return false;
    missed = (await takesConnections(url, clock, signal)) ? 0 : missed + 1;
  }
  return !signal.aborted;
}

/** Ends early if the signal aborts. */
async function pause(ms: number, clock: Pick<Clock, "after">, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancelTimer = clock.after(ms, resolve);
  const stop = onAbort(signal, resolve);
  await promise;
  cancelTimer();
  stop();
}

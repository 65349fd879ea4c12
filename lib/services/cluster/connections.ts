import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";

/** The time that a server has to take a connection, in milliseconds: its kernel does that, however busy it is. */
const CONNECT_MS = 1_000;

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

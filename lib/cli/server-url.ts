import type { Config } from "../config/config.ts";

/** Returns the URL of the configured server for a client on the same machine. */
export function serverUrl({ host, port }: Pick<Config, "host" | "port">): string {
  // A server that listens on all addresses is reached on loopback.
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host;
  return `http://${name.includes(":") && !name.startsWith("[") ? `[${name}]` : name}:${port}`;
}

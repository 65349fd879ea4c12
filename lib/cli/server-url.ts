import type { Config } from "../config/config.ts";

/** Where the server that the configuration describes is asked, from the same machine. */
export function serverUrl({ host, port }: Pick<Config, "host" | "port">): string {
  // What listens everywhere is asked here.
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host;
  return `http://${name.includes(":") && !name.startsWith("[") ? `[${name}]` : name}:${port}`;
}

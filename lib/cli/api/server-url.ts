import { networkInterfaces } from "node:os";
import type { Config } from "../../config/config.ts";

/** Returns the URL of the configured server: the given one, or that of a server with these options on this machine. */
export function serverUrl({ url, host, port, tlsCert }: Pick<Config, "url" | "host" | "port" | "tlsCert">): string {
  if (url !== null) return url;
  // A server that listens on all addresses is reached on loopback.
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host;
  const scheme = tlsCert === null ? "http" : "https";
  return `${scheme}://${name.includes(":") && !name.startsWith("[") ? `[${name}]` : name}:${port}`;
}

/** Returns whether a URL leads to this machine: by a loopback name, or an address of its own. */
export function isThisMachine(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  if (host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host)) return true;
  return Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === host) ?? false);
}

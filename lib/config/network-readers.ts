import { posix } from "node:path";
import { type AddressRange, type Allowed, plainRange } from "../domain/addresses.ts";
import { parseAllowed } from "../domain/calls/callbacks.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import { integer, type Reader, refuse, ValueError } from "./readers.ts";

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i;

/** A host name or an IP address, in lower case; IPv6 without brackets. */
export const host: Reader<string> = (value) => {
  const bare = value.replace(/^\[(.*)\]$/, "$1");
  if ((bare === value && HOST_NAME.test(value)) || isAddress(bare)) return bare.toLowerCase();
  throw new ValueError("a host name or an IP address, without a port");
};

/** Loads node:net only for texts that are not host names. */
function isAddress(text: string): boolean {
  return process.getBuiltinModule("node:net").isIP(text) !== 0;
}

/** Hosts separated by commas. */
export const hosts: Reader<readonly string[]> = (value) => {
  const names = value.split(",").map((name) => name.trim());
  try {
    return names.filter((name) => name !== "").map(host);
  } catch {
    throw new ValueError("a list of host names and IP addresses, without ports, separated by commas");
  }
};

/** Addresses and ranges separated by commas. */
export const addressRanges: Reader<readonly AddressRange[]> = (value) => {
  const entries = value.split(",").map((entry) => entry.trim().replace(/^\[(.*)\]$/, "$1"));
  return entries
    .filter((entry) => entry !== "")
    .map(
      (entry) =>
        plainRange(entry) ?? refuse("a list of IP addresses and ranges such as 10.0.0.0/8, separated by commas"),
    );
};

/** Host names, addresses and ranges separated by commas. */
export const callbackAllow: Reader<Allowed> = (value) => {
  const entries = value.split(",").map((entry) => entry.trim());
  const allowed = parseAllowed(entries.filter((entry) => entry !== ""));
  if (allowed !== undefined) return allowed;
  throw new ValueError("a list of host names, IP addresses and ranges such as 10.0.0.0/8, separated by commas");
};

/** The URL of a server, without a path. */
export const serverAddress: Reader<string> = (value) => {
  const url = URL.parse(value);
  const plain = url !== null && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  if (plain && url.password === "" && /^https?:$/.test(url.protocol)) return url.origin;
  throw new ValueError("a URL such as https://slipway.example.com or http://127.0.0.1:9999, without a path");
};

/** `DOCKER_HOST` as Docker's own client reads it, except ssh://. */
export const engineAddress: Reader<EngineAddress> = (value) => {
  const allowed = "unix:///path/to/docker.sock or tcp://host:port";
  if (value.startsWith("ssh://")) {
    throw new ValueError(
      `${allowed}; for SSH, forward the socket (ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock ` +
        `${value.slice("ssh://".length)}) first and give unix:///tmp/docker.sock`,
    );
  }
  const [, scheme, rest = ""] = /^(unix|tcp):\/\/(.+)$/.exec(value) ?? [];
  if (scheme === "unix" && posix.isAbsolute(rest) && !rest.includes("\0")) return { socketPath: rest };
  const [, name = "", port] = /^(\[[^\]]+\]|[^:/]+)(?::(\d{1,5}))?\/?$/.exec(scheme === "tcp" ? rest : "") ?? [];
  try {
    return { host: host(name), ...(port !== undefined && { port: integer(1, 65_535)(port) }) };
  } catch {
    throw new ValueError(allowed);
  }
};

/** The URL of a collector; its credentials belong in a header. */
export const collectorUrl: Reader<string> = (value) => {
  const url = URL.parse(value);
  const isPlain = url !== null && url.username === "" && url.password === "" && url.hash === "";
  if (isPlain && /^https?:$/.test(url.protocol)) return url.href;
  throw new ValueError("a URL such as http://127.0.0.1:4318, without a user or password");
};

/** Names with values, percent-encoded, as OpenTelemetry has them in one variable: `a=1,b=two%20words`. */
export const keyValues: Reader<Readonly<Record<string, string>>> = (value) => {
  const entries = value.split(",").filter((entry) => entry.trim() !== "");
  return Object.fromEntries(entries.map(keyValue));
};

function keyValue(entry: string): [string, string] {
  const allowed = "names with values such as name=value,other=two%20words; special characters are percent-encoded";
  const [, name = "", value = ""] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(entry) ?? [];
  try {
    if (name !== "") return [decodeURIComponent(name), decodeURIComponent(value)];
  } catch {
    // A percent sign that encodes nothing.
  }
  throw new ValueError(allowed);
}

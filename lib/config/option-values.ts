import { posix } from "node:path";
import type { Allowed } from "../domain/addresses.ts";
import { parseAllowed } from "../domain/calls/callbacks.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import { parseSecretKey, SECRET_KEY_FORM } from "../domain/parse-secret-key.ts";

/** Thrown by the readers below; the text says what to give instead, and `lib/config/config.ts` says where the value came from. */
export class ValueError extends Error {
  override readonly name = "ValueError";
}

/** Reads one option from its text. */
export type Reader<T> = (text: string) => T;

export const text: Reader<string> = (value) => {
  if (value.trim() === "" || value.includes("\0")) throw new ValueError("a text that is not empty");
  return value;
};

export function oneOf<const T extends string>(...allowed: readonly T[]): Reader<T> {
  return (value) => {
    const known = allowed.find((candidate) => candidate === value);
    if (known === undefined) throw new ValueError(`one of ${allowed.join(", ")}`);
    return known;
  };
}

export function integer(min: number, max: number): Reader<number> {
  return (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) throw new ValueError(`a whole number from ${min} to ${max}`);
    return number;
  };
}

const SIZES: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const DURATIONS: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Bytes: `65536`, `64KiB`, `6MiB`, `1GiB`. */
export function size(min: number, max: number): Reader<number> {
  return (value) =>
    withUnit(value, SIZES, min, max) ??
    refuse(`a size from ${showSize(min)} to ${showSize(max)}, in bytes or with KiB, MiB or GiB`);
}

/** Milliseconds: `500`, `500ms`, `30s`, `5m`, `1h`. */
export function duration(minMs: number, maxMs: number): Reader<number> {
  return (value) =>
    withUnit(value, DURATIONS, minMs, maxMs) ??
    refuse(`a time from ${showDuration(minMs)} to ${showDuration(maxMs)}, in milliseconds or with ms, s, m or h`);
}

function withUnit(
  value: string,
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,15}) ?([A-Za-z]*)$/.exec(value) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (digits === undefined || factor === undefined) return undefined;
  const number = Number(digits) * factor;
  return number >= min && number <= max ? number : undefined;
}

function refuse(allowed: string): never {
  throw new ValueError(allowed);
}

/** `6MiB` for 6291456: the largest unit that leaves a whole number. */
export function showSize(bytes: number): string {
  return show(bytes, SIZES);
}

/** `30s` for 30000. */
export function showDuration(ms: number): string {
  return show(ms, DURATIONS);
}

function show(number: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => number !== 0 && number % factor === 0) ?? [
    "",
    1,
  ];
  return `${number / factor}${unit}`;
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i;

/** A host name or an IP address in lower case, an IPv6 one without brackets. */
export const host: Reader<string> = (value) => {
  const bare = value.replace(/^\[(.*)\]$/, "$1");
  if ((bare === value && HOST_NAME.test(value)) || isAddress(bare)) return bare.toLowerCase();
  throw new ValueError("a host name or an IP address, without a port");
};

/** The module that knows is loaded only for what is no name. */
function isAddress(text: string): boolean {
  return process.getBuiltinModule("node:net").isIP(text) !== 0;
}

/** Hosts between commas. */
export const hosts: Reader<readonly string[]> = (value) => {
  const names = value.split(",").map((name) => name.trim());
  try {
    return names.filter((name) => name !== "").map(host);
  } catch {
    throw new ValueError("a list of host names and IP addresses, without ports, separated by commas");
  }
};

/** Names, addresses and ranges between commas. */
export const callbackAllow: Reader<Allowed> = (value) => {
  const entries = value.split(",").map((entry) => entry.trim());
  const allowed = parseAllowed(entries.filter((entry) => entry !== ""));
  if (allowed !== undefined) return allowed;
  throw new ValueError("a list of host names, IP addresses and ranges such as 10.0.0.0/8, separated by commas");
};

/** Goes into a header, so nothing but what a header can hold. */
export const apiKey: Reader<string> = (value) => {
  if (!/^[\x21-\x7e]{1,1024}$/.test(value)) throw new ValueError("1 to 1024 printable ASCII characters without spaces");
  return value;
};

/** The key of the vault. */
export const secretKey: Reader<Uint8Array> = (value) => parseSecretKey(value) ?? refuse(SECRET_KEY_FORM);

const ENGINE_PORT = 2375;

/** `DOCKER_HOST` as Docker's own client reads it, less what needs an SSH client. */
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
    return { host: host(name), port: port === undefined ? ENGINE_PORT : integer(1, 65_535)(port) };
  } catch {
    throw new ValueError(allowed);
  }
};

/** The engine's rule for names of volumes. */
export const volumeName: Reader<string> = (value) => {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(value)) {
    throw new ValueError(
      'a volume name of 2 to 255 letters, digits, "_", "." and "-", not beginning with one of the last three',
    );
  }
  return value;
};

/** The engine mounts these itself, and the gate lives in the last one. */
const TAKEN = ["/proc", "/sys", "/dev", "/.slipway"];

/** A directory inside a function's container. */
export const containerPath: Reader<string> = (value) => {
  const path = value.length > 1 && value.endsWith("/") ? value.slice(0, -1) : value;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const plain = /^\/[^\u0000-\u001f\u007f]+$/.test(path);
  const fits = posix.normalize(path) === path && Buffer.byteLength(path) <= 1024;
  if (!plain || !fits || TAKEN.some((taken) => path === taken || path.startsWith(`${taken}/`))) {
    throw new ValueError(`an absolute path without "." and "..", neither "/" nor in ${TAKEN.join(", ")}`);
  }
  return path;
};

import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { ConfigError, type Variables } from "../../config/config.ts";
import { codeOf, messageOf } from "../../domain/errors.ts";
import { readSmallFile } from "../../private-files.ts";
import { fileProblem } from "../file-problem.ts";
import { closestName } from "./names.ts";

/** A server that `slipway login` has saved. */
export interface SavedServer {
  readonly name: string;
  readonly url: string;
  /** Null for a server that needs none. */
  readonly key: string | null;
  readonly ca: string | null;
}

/** All of them, and the name of the one that commands talk to; null after the last one was removed. */
export interface SavedServers {
  readonly current: string | null;
  readonly servers: readonly SavedServer[];
}

const NONE: SavedServers = { current: null, servers: [] };

/** Returns the file of the saved servers: `servers.json` in `$XDG_CONFIG_HOME/slipway`, by default `~/.config/slipway`. */
export function savedServersFile(env: Variables): string {
  const home = env["HOME"] === undefined || env["HOME"] === "" ? homedir() : env["HOME"];
  const base = env["XDG_CONFIG_HOME"];
  return join(base === undefined || base === "" ? join(home, ".config") : base, "slipway", "servers.json");
}

/** Reads the saved servers. Throws a `ConfigError` for a file that is not ours. */
export function readSavedServers(env: Variables): SavedServers {
  const file = savedServersFile(env);
  try {
    const parsed: unknown = JSON.parse(readSmallFile(file));
    if (!isSavedServers(parsed)) throw new Error("it is not what slipway login writes");
    return parsed;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return NONE;
    throw new ConfigError(
      `Cannot read the saved servers in "${file}": ${messageOf(error)}. Delete it and log in again`,
      {
        cause: error,
      },
    );
  }
}

/** Writes the saved servers, in a file that only its owner may read: it has their keys. */
export function writeSavedServers(env: Variables, saved: SavedServers): void {
  const file = savedServersFile(env);
  const temporary = `${file}.${process.pid}.new`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    rmSync(temporary, { force: true });
    writeFileSync(temporary, `${JSON.stringify(saved, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, file);
  } catch (error) {
    throw new ConfigError(`Cannot write "${file}": ${fileProblem(error)}`, { cause: error });
  }
}

/** Returns the saved server of a name, or the current one; undefined if there is none. Throws a `ConfigError`. */
export function savedServer({ current, servers }: SavedServers, name: string | null): SavedServer | undefined {
  const found = servers.find((server) => server.name === (name ?? current));
  if (found !== undefined || name === null) return found;
  const hint = closestName(
    name,
    servers.map((server) => server.name),
  );
  throw new ConfigError(
    `No saved server "${name}": ${hint === undefined ? "" : `did you mean "${hint}"? `}"slipway servers" lists them`,
  );
}

function isSavedServers(value: unknown): value is SavedServers {
  if (typeof value !== "object" || value === null || !("servers" in value) || !("current" in value)) return false;
  const { current, servers } = value;
  return (current === null || typeof current === "string") && Array.isArray(servers) && servers.every(isSavedServer);
}

function isSavedServer(value: unknown): value is SavedServer {
  if (typeof value !== "object" || value === null) return false;
  const { name, url, key, ca } = value as Partial<Record<keyof SavedServer, unknown>>; // read with care
  const isText = (one: unknown) => one === null || typeof one === "string";
  return typeof name === "string" && typeof url === "string" && isText(key) && isText(ca);
}

import { Database } from "bun:sqlite";
import { mkdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireProgram, run, runOrThrow, SetupError } from "../packages.ts";

/** The most private engines on one machine at the same time. */
const MAX_SLOTS = 16;

/** A place for one private engine: a directory and a bridge of its own. */
export interface EngineSlot extends AsyncDisposable {
  readonly number: number;
  readonly directory: string;
  /** Keeps the slot beyond the scope that took it; the returned function frees it. */
  keep(): () => void;
}

/** Takes the first directory that no other process uses. The lock is SQLite's: the kernel frees it even after SIGKILL. */
export async function takeSlot(): Promise<EngineSlot> {
  const root = join(tmpdir(), "slipway-engine");
  await mkdir(root, { recursive: true, mode: 0o700 });
  if ((await stat(root)).uid !== process.getuid?.())
    throw new SetupError(`Cannot use "${root}": it belongs to another user`);
  for (let number = 0; number < MAX_SLOTS; number++) {
    const directory = join(root, String(number));
    await mkdir(directory, { recursive: true });
    const lock = tryLock(join(directory, "lock.db"));
    if (lock === undefined) continue;
    let kept = false;
    return {
      number,
      directory,
      keep() {
        kept = true;
        return () => lock.close();
      },
      async [Symbol.asyncDispose]() {
        if (!kept) lock.close();
      },
    };
  }
  throw new SetupError(`Cannot start a private Docker engine: ${MAX_SLOTS} are running already`);
}

function tryLock(path: string): Database | undefined {
  const database = new Database(path);
  try {
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch {
    database.close();
    return undefined;
  }
}

/**
 * Writes the engine's configuration, with a bridge of its own: `docker0` may belong to another engine, and two engines on
 * one bridge hand out the same addresses. The bridge outlives the engine (without members it is idle) and is reused.
 * The addresses of its networks are its own, too: a killed engine leaves their bridges, until the next one takes its slot.
 */
export async function writeConfig(slot: EngineSlot, more: object = {}): Promise<void> {
  const bridge = `slipway${slot.number}`;
  const ip = requireProgram("ip");
  const existing = await run([ip, "-4", "addr", "show", "dev", bridge]);
  if (existing.code !== 0) await runOrThrow([ip, "link", "add", bridge, "type", "bridge"]);
  if (!existing.stdout.includes("inet ")) {
    await runOrThrow([ip, "addr", "add", `${await freeSubnet(slot.number)}.1/24`, "dev", bridge]);
  }
  await runOrThrow([ip, "link", "set", bridge, "up"]);
  const networks = `10.${FIRST_NETWORKS + slot.number}`;
  await removeBridges(ip, networks);
  const config = {
    bridge,
    "default-address-pools": [{ base: `${networks}.0.0/16`, size: 24 }],
    "log-level": "warn",
    ...more,
  };
  await Bun.write(join(slot.directory, "daemon.json"), JSON.stringify(config));
}

/** The second number of the addresses of the networks of slot 0; each slot has 256 networks. */
const FIRST_NETWORKS = 140;

/** Removes the bridges of an engine's networks whose addresses begin with `networks`. */
async function removeBridges(ip: string, networks: string): Promise<void> {
  for (const line of (await runOrThrow([ip, "-4", "-br", "addr"])).split("\n")) {
    const [name = "", , address = ""] = line.split(/\s+/);
    if (name.startsWith("br-") && address.startsWith(`${networks}.`)) await runOrThrow([ip, "link", "del", name]);
  }
}

/** Returns the first three numbers of a /24 in which no interface of this machine has an address; other slots get others. */
export async function freeSubnet(slot: number): Promise<string> {
  const taken = await runOrThrow([requireProgram("ip"), "-4", "addr"]);
  const free = [213, 231, 187, 99]
    .map((second) => `10.${second}.${slot}`)
    .find((prefix) => !taken.includes(` ${prefix}.`));
  if (free === undefined) throw new SetupError("Cannot find a free network for a private Docker engine");
  return free;
}

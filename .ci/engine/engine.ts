import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { startEmulatedEngine } from "./emulated-engine.ts";
import { EngineClient } from "./engine-client.ts";
import { findProgram, runOrThrow, SetupError } from "../packages.ts";
import { startPrivateEngine } from "./private-engine.ts";

/** A real Docker engine. */
export interface Engine extends AsyncDisposable {
  /** The value for DOCKER_HOST. */
  readonly host: string;
  /** The path of its socket. */
  readonly socket: string;
  /** True if we started it and nobody else uses it. */
  readonly isPrivate: boolean;
  readonly client: EngineClient;
  /** Runs the `docker` program against this engine and returns what it printed; a non-zero exit code throws. */
  docker(...args: string[]): Promise<string>;
  /** Stops the engine if it is a private one; otherwise does nothing. */
  stop(): Promise<void>;
}

let acquired: Promise<Engine> | undefined;

/**
 * Returns the engine that answers on DOCKER_HOST or one of the usual sockets. If none does, it starts a private one
 * (installing it if necessary), which ends with this process. There is one engine per process: every call returns it.
 */
export function acquireEngine(): Promise<Engine> {
  acquired ??= findEngine().catch((error: unknown) => {
    acquired = undefined;
    throw error;
  });
  return acquired;
}

/**
 * Returns another engine of the same kind, for tests that run side by side; nothing if the first one is not private: then
 * there is no more than one.
 */
export async function acquireSecondEngine(): Promise<Engine | undefined> {
  if (!(await acquireEngine()).isPrivate) return undefined;
  const started = await startPrivateEngine();
  return engineOf(started.client, true, () => started.stop());
}

/**
 * Starts the newest engine that Debian has, with the containerd image store. It is private and ends with this process.
 * Throws a `SetupError` if it cannot be had.
 */
export async function startNewestEngine(): Promise<Engine> {
  const started = await startPrivateEngine("newest");
  return engineOf(started.client, true, () => started.stop());
}

/** Starts an engine on an emulated machine with cgroup v2 and AppArmor; see `startEmulatedEngine`. */
export async function startEmulated(): Promise<Engine> {
  const started = await startEmulatedEngine();
  return engineOf(started.client, true, () => started.stop());
}

/** Returns the engine of this process if `acquireEngine` has been called. */
export function acquiredEngine(): Promise<Engine> | undefined {
  return acquired;
}

async function findEngine(): Promise<Engine> {
  const named = process.env["DOCKER_HOST"];
  if (named !== undefined && named !== "") return reuseNamed(named);
  const running = await findRunning();
  if (running !== undefined) return engineOf(running, false, async () => undefined);

  const started = await startPrivateEngine().catch(async (error: unknown) => {
    // On a machine with a service manager, installing the package starts an engine on the default socket.
    const service = await findRunning();
    if (service === undefined) throw error;
    return { client: service, stop: undefined };
  });
  if (started.stop === undefined) return engineOf(started.client, false, async () => undefined);
  return engineOf(started.client, true, async () => {
    acquired = undefined;
    await started.stop?.();
  });
}

async function reuseNamed(host: string): Promise<Engine> {
  if (!host.startsWith("unix://"))
    throw new SetupError(`Cannot use DOCKER_HOST "${host}" here: only unix:// addresses work for set-up and tests`);
  const client = new EngineClient(host);
  if (!(await client.ping(5000)))
    throw new SetupError(`No Docker engine answers on DOCKER_HOST "${host}". Start it, or unset DOCKER_HOST.`);
  return engineOf(client, false, async () => undefined);
}

/** Debian's socket, the rootless one, and Docker Desktop's. */
async function findRunning(): Promise<EngineClient | undefined> {
  const sockets = [
    "/var/run/docker.sock",
    join(process.env["XDG_RUNTIME_DIR"] ?? "/run", "docker.sock"),
    join(homedir(), ".docker/run/docker.sock"),
  ];
  for (const socket of sockets.filter((path) => existsSync(path))) {
    const client = new EngineClient(`unix://${socket}`);
    if (await client.ping(5000)) return client;
  }
  return undefined;
}

function engineOf(client: EngineClient, isPrivate: boolean, stop: () => Promise<void>): Engine {
  return {
    host: client.host,
    socket: client.socket,
    isPrivate,
    client,
    stop,
    [Symbol.asyncDispose]: stop,
    docker: (...args) => runOrThrow([findProgram("docker") ?? "docker", "-H", client.host, ...args]),
  };
}

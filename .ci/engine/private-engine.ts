import { readFile, rm } from "node:fs/promises";
import { openSync, closeSync } from "node:fs";
import { join } from "node:path";
import { EngineClient } from "./engine-client.ts";
import { takeSlot, writeConfig } from "./engine-slot.ts";
import { ensureProgram, findProgram, requireProgram, run, SetupError } from "../packages.ts";

/** The time that a new engine may take to answer; a loaded machine needed 2 s. */
const START_TIMEOUT_MS = 30_000;
const MAX_LAUNCHES = 3;
const STOP_TIMEOUT_MS = 10_000;

/** A Docker engine that lives and dies with this process. */
export interface PrivateEngine {
  readonly client: EngineClient;
  /** Removes its containers, stops it and frees its directory; its images stay for the next run. */
  stop(): Promise<void>;
}

/**
 * Starts a Docker engine in namespaces of its own, so that even a SIGKILL of this process leaves no process or mount
 * behind. It shares the host's network: functions are on its bridge, and it reaches a registry on loopback.
 * Its images are in the system's temporary directory and stay for the next run.
 */
export async function startPrivateEngine(): Promise<PrivateEngine> {
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      "No Docker engine answers. Start Docker, or point DOCKER_HOST at an engine (or run this as root, to get a private one).",
    );
  }
  const dockerd = await ensureEnginePrograms();
  await using slot = await takeSlot();
  await writeConfig(slot);
  const { client, child } = await launchEngine(dockerd, slot.directory);
  const release = slot.keep();
  return {
    client,
    async stop() {
      await removeContainers(client);
      await stopEngine(child);
      release();
    },
  };
}

async function ensureEnginePrograms(): Promise<string> {
  await ensureProgram("unshare", ["util-linux"]);
  await ensureProgram("ip", ["iproute2"]);
  const dockerd = await ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
  // Since Debian 13 the client is a package of its own.
  await ensureProgram("docker", ["docker-cli"]);
  return dockerd;
}

/** Starts the engine, with retries: two engines that set up the host's packet filter at the same moment can collide. */
async function launchEngine(
  dockerd: string,
  directory: string,
): Promise<{ client: EngineClient; child: Bun.Subprocess }> {
  const log = join(directory, "dockerd.log");
  const client = new EngineClient(`unix://${join(directory, "docker.sock")}`);
  for (let launch = 1; ; launch++) {
    await removeRemains(directory);
    const logFile = openSync(log, "w");
    const child = Bun.spawn(engineCommand(dockerd, directory), { stdin: "ignore", stdout: logFile, stderr: logFile });
    closeSync(logFile);
    child.unref();
    try {
      await untilReady(client, child);
      return { client, child };
    } catch (error) {
      child.kill("SIGKILL");
      await child.exited;
      if (launch < MAX_LAUNCHES) continue;
      const tail = (await readFile(log, "utf8")).trim().split("\n").slice(-5).join("\n");
      throw new SetupError(`Cannot start a private Docker engine, its log ends with:\n${tail}`, { cause: error });
    }
  }
}

/** Removes the leftovers of a killed engine: its pid file would name a running process, the first of the namespace. */
async function removeRemains(directory: string): Promise<void> {
  await rm(join(directory, "docker.pid"), { force: true });
  await rm(join(directory, "exec"), { recursive: true, force: true });
}

/**
 * setpriv ties the engine's life to ours, and unshare ties everything in it to the engine. The first process in the
 * namespace is tini, which reaps the shims of ended containers.
 */
function engineCommand(dockerd: string, directory: string): string[] {
  const at = (name: string): string => join(directory, name);
  const init = findProgram("docker-init");
  return [
    [requireProgram("setsid"), requireProgram("setpriv"), "--pdeathsig", "KILL"],
    [requireProgram("unshare"), "-m", "-p", "-f", "--kill-child=KILL", "--mount-proc", "--propagation", "private"],
    init === null ? [] : [init, "--"],
    [dockerd, "--config-file", at("daemon.json"), "--data-root", at("root"), "--exec-root", at("exec")],
    ["-p", at("docker.pid"), "-H", `unix://${at("docker.sock")}`],
  ].flat();
}

async function untilReady(client: EngineClient, child: Bun.Subprocess): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`dockerd ended with exit code ${child.exitCode}`);
    if (await client.ping(1000)) return;
    await Bun.sleep(50);
  }
  throw new Error(`dockerd did not answer within ${START_TIMEOUT_MS} ms`);
}

/** Removes all containers before a stop: each one that ignores SIGTERM costs the engine 10 s. */
async function removeContainers(client: EngineClient): Promise<void> {
  const listed: unknown = await client.json("GET", "/containers/json?all=1");
  if (!Array.isArray(listed)) return;
  const ids = listed.flatMap((entry: { Id?: unknown }) => (typeof entry.Id === "string" ? [entry.Id] : []));
  await Promise.all(ids.map((id) => client.request("DELETE", `/containers/${id}?force=1&v=1`).catch(() => undefined)));
}

async function stopEngine(child: Bun.Subprocess): Promise<void> {
  // unshare ignores SIGTERM; its only child is the init of the engine's namespaces.
  const children = await run(["cat", `/proc/${child.pid}/task/${child.pid}/children`]);
  const init = Number.parseInt(children.stdout, 10);
  if (Number.isInteger(init)) process.kill(init, "SIGTERM");
  else child.kill("SIGKILL");
  const kill = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await child.exited;
  clearTimeout(kill);
}

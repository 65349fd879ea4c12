import { readFile, rm } from "node:fs/promises";
import { openSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineClient } from "./engine-client.ts";
import { takeSlot, writeConfig } from "./engine-slot.ts";
import { type EngineRoot, newestRoot } from "./newest-root.ts";
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

/** Differences from the usual private engine. */
interface EngineOptions {
  /** Settings of its `daemon.json`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /**
   * True for cgroups v2 with whatever this machine has. Controllers that it has in v1 are missing: the engine leaves out limits of
   * memory and processes, and refuses those of the processor. For the installed kind.
   */
  readonly cgroup2?: boolean;
  /** The number of the only processor that it and its containers use. What the kernel does for it in the background may be on any. */
  readonly core?: number;
}

/**
 * Starts a Docker engine in namespaces of its own, so that even a SIGKILL of this process leaves no process or mount
 * behind. It shares the host's network: functions are on its bridge, and it reaches a registry on loopback.
 * Its images are in the system's temporary directory and stay for the next run.
 *
 * The engine is the one that this machine has, or gets from its Debian; or the `newest`, with the containerd image store
 * that new installations have.
 */
export async function startPrivateEngine(
  kind: "installed" | "newest" = "installed",
  { settings = {}, cgroup2 = false, core }: EngineOptions = {},
): Promise<PrivateEngine> {
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      "No Docker engine answers. Start Docker, or point DOCKER_HOST at an engine (or run this as root, to get a private one).",
    );
  }
  await ensureProgram("unshare", ["util-linux"]);
  await ensureProgram("ip", ["iproute2"]);
  const dockerd = kind === "installed" ? await ensureEngine() : "dockerd";
  // Since Debian 13 the client is a package of its own.
  await ensureProgram("docker", ["docker-cli"]);
  const root = kind === "newest" ? await newestRoot() : undefined;
  await using slot = await takeSlot();
  await writeConfig(slot, { ...settings, ...(kind === "newest" && { features: { "containerd-snapshotter": true } }) });
  const pinned = core === undefined ? [] : [requireProgram("taskset"), "-c", String(core)];
  const command = [...pinned, ...engineCommand(dockerd, slot.directory, root, cgroup2)];
  const { client, child } = await launchEngine(command, slot.directory);
  // Those of a run that was killed, with its engine, come back with the directory.
  await removeContainers(client);
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

function ensureEngine(): Promise<string> {
  return ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
}

/** Starts the engine, with retries: two engines that set up the host's packet filter at the same moment can collide. */
async function launchEngine(
  command: readonly string[],
  directory: string,
): Promise<{ client: EngineClient; child: Bun.Subprocess }> {
  const log = join(directory, "dockerd.log");
  const client = new EngineClient(`unix://${join(directory, "docker.sock")}`);
  for (let launch = 1; ; launch++) {
    await removeRemains(directory);
    const logFile = openSync(log, "w");
    const child = Bun.spawn([...command], { stdin: "ignore", stdout: logFile, stderr: logFile });
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
 * Makes `$1` the root of a private mount namespace and runs the rest of its arguments there. runc refuses a root that is
 * no mount point, so this is no chroot. Programs of the old root have no libraries in the new one: busybox needs none.
 */
const ENTER_ROOT = `
set -e
root=$1 shared=$2
shift 2
mount --bind "$root" "$root"
for dir in /sys /dev "$shared"; do mount --rbind "$dir" "$root$dir"; done
for dir in /etc/ssl /etc/hosts /etc/resolv.conf /lib/modules; do
  if [ -e "$dir" ]; then mount --bind "$dir" "$root$dir"; fi
done
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/etc/docker"
cd "$root"
pivot_root . old
exec /bin/busybox sh -c '/bin/busybox umount -l /old && exec "$@"' sh "$@"
`;

const MOUNT_CGROUP2 = 'umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"';

/**
 * setpriv ties the engine's life to ours, and unshare ties everything in it to the engine. The first process in the
 * namespace is tini, which reaps the shims of ended containers.
 */
function engineCommand(dockerd: string, directory: string, root: EngineRoot | undefined, cgroup2: boolean): string[] {
  const at = (name: string): string => join(directory, name);
  // A store of its own: each kind of engine may be the next in this slot.
  const data = root === undefined ? "root" : "root-newest";
  const init = root === undefined ? findProgram("docker-init") : "/usr/bin/docker-init";
  return [
    [requireProgram("setsid"), requireProgram("setpriv"), "--pdeathsig", "KILL"],
    [requireProgram("unshare"), "-m", "-p", "-f", "--kill-child=KILL", "--mount-proc", "--propagation", "private"],
    cgroup2 ? ["sh", "-c", MOUNT_CGROUP2, "mount-cgroup2"] : [],
    root === undefined ? [] : ["sh", "-c", ENTER_ROOT, "enter-root", root.directory, tmpdir()],
    init === null ? [] : [init, "--"],
    [dockerd, "--config-file", at("daemon.json"), "--data-root", at(data), "--exec-root", at("exec")],
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

/** Removes all containers. At a stop each one that ignores SIGTERM would cost the engine 10 s. */
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

import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import type { EngineSlot } from "../../../../.ci/engine/engine-slot.ts";
import { ensureProgram, findProgram, requireProgram, runOrThrow } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";
import type { MachineNetwork } from "./machine-network.ts";

/** Longer than an engine takes to start. */
const START_MS = 30_000;

/**
 * Waits for the cable, gives the machine its address `$1` and its name `$2`, and goes on with the rest. Its own are `/run`, which has the
 * engine's usual socket, and `/etc/docker`, which has the engine's id.
 */
const BOOT = `
set -e
read -r _
ip link set lo up
ip addr add "$1" dev eth0
ip link set eth0 up
echo "$2" > /proc/sys/kernel/hostname
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /etc/docker
mount -t tmpfs tmpfs /etc/docker
shift 2
exec "$@" < /dev/null
`;

/** A machine of a network, with a name and an engine at its usual socket: namespaces of its own for everything, which end with this process. */
export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly client: EngineClient;
  readonly #child: Bun.Subprocess;
  readonly #directory: string;

  private constructor(
    name: string,
    address: string,
    { child, directory }: { child: Bun.Subprocess; directory: string },
  ) {
    this.name = name;
    this.address = address;
    this.client = new EngineClient(`unix://${join(directory, "docker.sock")}`);
    this.#child = child;
    this.#directory = directory;
  }

  /** Starts `node-PLACE` with an empty engine that believes a registry without TLS, in a slot that nobody else has. */
  static async start(network: MachineNetwork, place: number, slot: EngineSlot, registry: string): Promise<Machine> {
    const dockerd = await ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
    const directory = join(slot.directory, "machine");
    await rm(directory, { recursive: true, force: true });
    mkdirSync(directory);
    const at = (name: string) => join(directory, name);
    await Bun.write(at("daemon.json"), JSON.stringify({ "insecure-registries": [registry], "log-level": "warn" }));
    const name = `node-${place}`;
    const address = network.address(place);
    const init = findProgram("docker-init");
    const engine = [
      init === null ? [] : [init, "--"],
      [dockerd, "--config-file", at("daemon.json"), "--data-root", at("root"), "--exec-root", at("exec")],
      ["-p", at("docker.pid"), "-H", "unix:///run/docker.sock", "-H", `unix://${at("docker.sock")}`],
    ].flat();
    const command = [
      [requireProgram("setsid"), requireProgram("setpriv"), "--pdeathsig", "KILL", requireProgram("unshare")],
      ["-n", "-u", "-m", "-p", "-f", "--kill-child=KILL", "--mount-proc", "--propagation", "private"],
      ["sh", "-c", BOOT, "boot", `${address}/24`, name, ...engine],
    ].flat();
    const log = openSync(at("log"), "w");
    const child = Bun.spawn(command, { stdin: "pipe", stdout: log, stderr: log });
    closeSync(log);
    const machine = new Machine(name, address, { child, directory });
    const isApart = () => childOf(child.pid) !== undefined;
    if (!(await eventually(isApart))) throw new Error(`${name} has no namespaces`);
    await network.connect(place, child.pid);
    void child.stdin.write("\n");
    await child.stdin.end();
    if (await eventually(() => machine.client.ping(1_000), START_MS)) return machine;
    throw new Error(`The engine of ${name} does not start: ${readFileSync(at("log"), "utf8").slice(-2_000)}`);
  }

  /** Runs the `docker` program against its engine, with further variables, and returns what it printed; a non-zero exit code throws. */
  docker(args: readonly string[], variables: Readonly<Record<string, string>> = {}, input?: Blob): Promise<string> {
    const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const command = ["env", ...environment, requireProgram("docker"), "-H", this.client.host, ...args];
    return runOrThrow(command, input);
  }

  /** Sends SIGKILL to a process, by its number on the machine. */
  async kill(pid: number): Promise<void> {
    const inside = [requireProgram("nsenter"), "-t", String(childOf(this.#child.pid)), "-p"];
    await runOrThrow([...inside, "sh", "-c", 'kill -9 "$0"', String(pid)]);
  }

  /** Ends it with everything in it, as a power cut does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Returns the first process of the namespaces that `unshare` has made; undefined before it has. */
function childOf(pid: number): number | undefined {
  const [first = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  return first === "" ? undefined : Number(first);
}

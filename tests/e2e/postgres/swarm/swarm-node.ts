import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import type { EngineSlot } from "../../../../.ci/engine/engine-slot.ts";
import { ensureProgram, findProgram, requireProgram, runOrThrow } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";
import { Namespaces } from "../support/namespaces.ts";
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

/** A machine of a network, with a name and an engine at its usual socket: namespaces of its own for everything. */
export class SwarmNode implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly client: EngineClient;
  readonly #namespaces: Namespaces;
  readonly #directory: string;

  private constructor(name: string, address: string, parts: { namespaces: Namespaces; directory: string }) {
    this.name = name;
    this.address = address;
    this.client = new EngineClient(`unix://${join(parts.directory, "docker.sock")}`);
    this.#namespaces = parts.namespaces;
    this.#directory = parts.directory;
  }

  /** Starts `node-PLACE` with an empty engine that believes a registry without TLS, in a slot that nobody else has. */
  static async start(network: MachineNetwork, place: number, slot: EngineSlot, registry: string): Promise<SwarmNode> {
    const dockerd = await ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
    const directory = join(slot.directory, "machine");
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory);
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
    const boot = ["sh", "-c", BOOT, "boot", `${address}/24`, name, ...engine];
    const namespaces = new Namespaces(boot, { log: at("log"), more: ["-u"] });
    const node = new SwarmNode(name, address, { namespaces, directory });
    await eventually(() => namespaces.pid !== undefined);
    if (namespaces.pid === undefined) throw new Error(`${name} has no namespaces: ${namespaces.output}`);
    await network.connect(place, namespaces.pid);
    await namespaces.goOn();
    if (await eventually(() => node.client.ping(1_000), START_MS)) return node;
    throw new Error(`The engine of ${name} does not start: ${namespaces.output}`);
  }

  /** Runs the `docker` program against its engine, with further variables, and returns what it printed; a non-zero exit code throws. */
  docker(args: readonly string[], variables: Readonly<Record<string, string>> = {}, input?: Blob): Promise<string> {
    const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const command = ["env", ...environment, requireProgram("docker"), "-H", this.client.host, ...args];
    return runOrThrow(command, input);
  }

  /** Sends SIGKILL to a process, by its number on the machine. */
  async kill(pid: number): Promise<void> {
    await runOrThrow(this.#namespaces.within(["-p"], ["sh", "-c", 'kill -9 "$0"', String(pid)]));
  }

  /** Ends it with everything in it, as a power cut does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#namespaces[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

import { freeSubnet } from "../../../../.ci/engine/engine-slot.ts";
import { requireProgram, runOrThrow } from "../../../../.ci/packages.ts";

/**
 * A network of machines, each of which is a network namespace: a switch in a namespace of its own, with a cable to this process and one to
 * each machine. All of it goes with this process, whatever ends that.
 */
export class MachineNetwork implements AsyncDisposable {
  /** The address of this process in it. */
  readonly host: string;
  readonly #subnet: string;
  readonly #switch: Bun.Subprocess;

  private constructor(subnet: string, child: Bun.Subprocess) {
    this.#subnet = subnet;
    this.host = `${subnet}.1`;
    this.#switch = child;
  }

  /** Makes one whose addresses and interface go by a number that no other network on this machine has. */
  static async start(number: number): Promise<MachineNetwork> {
    const namespace = [requireProgram("setpriv"), "--pdeathsig", "KILL", requireProgram("unshare"), "-n"];
    const child = Bun.spawn([...namespace, "sh", "-c", "echo there; exec sleep infinity"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    await child.stdout.getReader().read();
    const network = new MachineNetwork(await freeSubnet(number), child);
    const [own, here] = [`machines${number}`, String(process.pid)];
    await network.#ip("link", "add", "switch", "type", "bridge");
    await network.#ip("link", "set", "switch", "up");
    await network.#ip("link", "add", "host", "master", "switch", "type", "veth", "peer", "name", own, "netns", here);
    await network.#ip("link", "set", "host", "up");
    const ip = requireProgram("ip");
    await runOrThrow([ip, "addr", "add", `${network.host}/24`, "dev", own]);
    await runOrThrow([ip, "link", "set", own, "up"]);
    return network;
  }

  /** Returns the address of a machine, by its place from 1. */
  address(place: number): string {
    return `${this.#subnet}.${10 + place}`;
  }

  /** Lays the cable to a machine: `eth0` in the network namespace of a process, which gives it the address. */
  async connect(place: number, pid: number): Promise<void> {
    const cable = ["type", "veth", "peer", "name", "eth0", "netns", String(pid)];
    await this.#ip("link", "add", nameOf(place), "master", "switch", ...cable);
    await this.#ip("link", "set", nameOf(place), "up");
  }

  /** Pulls out the cable of a machine: nothing gets through any more, and nobody is told. */
  async cut(place: number): Promise<void> {
    await this.#ip("link", "set", nameOf(place), "nomaster");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#switch.kill("SIGKILL");
    await this.#switch.exited;
  }

  /** Runs `ip` at the switch. */
  async #ip(...args: readonly string[]): Promise<void> {
    const there = [requireProgram("nsenter"), "-t", String(this.#switch.pid), "-n"];
    await runOrThrow([...there, requireProgram("ip"), ...args]);
  }
}

function nameOf(place: number): string {
  return `machine${place}`;
}

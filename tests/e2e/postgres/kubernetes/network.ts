import { requireProgram, runOrThrow } from "../../../../.ci/packages.ts";
import type { Machine } from "./machine.ts";

/** The addresses of a cluster, all in one network that nothing else on this machine uses. */
export class Network implements AsyncDisposable {
  /** Everything in it begins with this: `10.77`. */
  readonly prefix: string;
  readonly #control: Machine;
  readonly #link: string;

  private constructor(prefix: string, control: Machine) {
    this.prefix = prefix;
    this.#control = control;
    this.#link = `kube${prefix.split(".")[1]}`;
  }

  /** Connects the first machine with this one: it passes on what goes to nodes, Pods and Services. */
  static async start(control: Machine): Promise<Network> {
    const taken = await runOrThrow([requireProgram("ip"), "-4", "route"]);
    const prefix = Array.from({ length: 20 }, (_, index) => `10.${77 + index}`).find(
      (one) => !taken.includes(`${one}.`),
    );
    if (prefix === undefined) throw new Error("There is no free network for a cluster");
    const network = new Network(prefix, control);
    await ip(`link add ${network.#link} type veth peer name outside netns ${control.pid}`);
    await ip(`addr add ${network.outside}/30 dev ${network.#link}`);
    await ip(`link set ${network.#link} up`);
    await ip(`route add ${prefix}.0.0/16 via ${prefix}.200.1`);
    await inside(control, `addr add ${prefix}.200.1/30 dev outside`);
    await inside(control, "link set outside up");
    await inside(control, "link add nodes type bridge");
    await inside(control, `addr add ${network.control}/24 dev nodes`);
    await inside(control, "link set nodes up");
    return network;
  }

  /** The address of the first machine. */
  get control(): string {
    return `${this.prefix}.0.1`;
  }

  /** The address of this machine, where PostgreSQL and a registry are. */
  get outside(): string {
    return `${this.prefix}.200.2`;
  }

  /** The addresses of Services. */
  get services(): string {
    return `${this.prefix}.100.0/24`;
  }

  addressOf(node: number): string {
    return `${this.prefix}.0.${10 + node}`;
  }

  /** The gateway of the Pods of a node, with their network. */
  podsOf(node: number): string {
    return `${this.prefix}.${10 + node}.1/24`;
  }

  /** Connects a node. */
  async add(node: number, machine: Machine): Promise<void> {
    await inside(this.#control, `link add node-${node} type veth peer name eth0 netns ${machine.pid}`);
    await inside(this.#control, `link set node-${node} master nodes up`);
    await inside(machine, `addr add ${this.addressOf(node)}/24 dev eth0`);
    await inside(machine, "link set eth0 up");
    await inside(machine, `route add default via ${this.control}`);
    await inside(this.#control, `route add ${this.prefix}.${10 + node}.0/24 via ${this.addressOf(node)}`);
  }

  /** Cuts the only cable of a node, or puts it back. */
  async set(node: number, to: "down" | "up"): Promise<void> {
    await inside(this.#control, `link set node-${node} ${to}`);
  }

  /** Its end goes with the first machine, which may be gone already. */
  async [Symbol.asyncDispose](): Promise<void> {
    await ip(`link del ${this.#link}`).catch(() => undefined);
  }
}

function ip(words: string): Promise<string> {
  return runOrThrow([requireProgram("ip"), ...words.split(" ")]);
}

/** Runs it in the network of a machine, and nothing else of it: the process numbers are those of this machine. */
function inside({ pid }: Machine, words: string): Promise<string> {
  const enter = [requireProgram("nsenter"), "-t", String(pid), "-n"];
  return runOrThrow([...enter, requireProgram("ip"), ...words.split(" ")]);
}

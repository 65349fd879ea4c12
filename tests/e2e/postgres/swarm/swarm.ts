import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { SQL } from "bun";
import { takeSlot } from "../../../../.ci/engine/engine-slot.ts";
import { ensureProgram } from "../../../../.ci/packages.ts";
import { inRepository } from "../../../../.ci/steps.ts";
import { eventually } from "../../../support/pace.ts";
import { type PrivatePostgres, startPostgres } from "../../../support/postgres/private-postgres.ts";
import { type Registry, startRegistry } from "../../../support/registry/registry.ts";
import { SwarmNode } from "./swarm-node.ts";
import { MachineNetwork } from "./machine-network.ts";

/** The name of the database, and its user. */
const DATABASE = "slipway";
/** The name of the manual's command. */
const STACK = "slipway";
const SERVICE = `${STACK}_server`;
/** Longer than a Swarm takes for anything here. */
const LONG_MS = 120_000;

/** A Swarm of nodes with a network of their own, in which there are also a PostgreSQL and a registry. The first node manages it. */
export class Swarm implements AsyncDisposable {
  readonly network: MachineNetwork;
  readonly nodes: readonly SwarmNode[];
  readonly registry: Registry;
  readonly #sql: SQL;
  readonly #databaseUrl: string;
  readonly #held: AsyncDisposableStack;

  private constructor(
    parts: { network: MachineNetwork; nodes: readonly SwarmNode[]; registry: Registry },
    database: { sql: SQL; url: string },
    held: AsyncDisposableStack,
  ) {
    ({ network: this.network, nodes: this.nodes, registry: this.registry } = parts);
    this.#sql = database.sql;
    this.#databaseUrl = database.url;
    this.#held = held;
  }

  /** Starts so many nodes, and makes a Swarm of them. */
  static async start(count: number): Promise<Swarm> {
    await ensureProgram("docker", ["docker.io"]);
    await using held = new AsyncDisposableStack();
    const slots = [];
    for (let place = 1; place <= count; place++) {
      const slot = held.use(await takeSlot());
      held.defer(slot.keep());
      slots.push(slot);
    }
    const network = held.use(await MachineNetwork.start(slots[0]?.number ?? 0));
    const postgres = held.use(await startPostgres([`listen_addresses=${network.host}`]));
    await letIn(postgres, network);
    await postgres.run(`create database ${DATABASE}`);
    const url = `postgres://slipway@${network.host}/${DATABASE}`;
    const sql = new SQL(postgres.url(DATABASE), { max: 1 });
    held.defer(() => sql.close());
    const registry = held.use(await startRegistry(undefined, network.host));
    const nodes = await Promise.all(
      slots.map(async (slot, index) => held.use(await SwarmNode.start(network, index + 1, slot, registry.host))),
    );
    const [manager, ...workers] = nodes as [SwarmNode, ...SwarmNode[]]; // at least one
    await manager.docker(["swarm", "init", "--advertise-addr", manager.address]);
    const token = (await manager.docker(["swarm", "join-token", "-q", "worker"])).trim();
    for (const worker of workers) await worker.docker(["swarm", "join", "--token", token, `${manager.address}:2377`]);
    return new Swarm({ network, nodes, registry }, { sql, url }, held.move());
  }

  /** Returns a node by its place from 1. */
  node(place: number): SwarmNode {
    const node = this.nodes[place - 1];
    if (node === undefined) throw new Error(`There is no node ${place}`);
    return node;
  }

  /** Makes the secrets and deploys the stack of the manual, with the manual's commands. */
  async deploy(image: string, apiKey: string): Promise<void> {
    const manager = this.node(1);
    const secrets = {
      "database-url": this.#databaseUrl,
      "secret-key": Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64"),
      "api-key": apiKey,
    };
    for (const [name, value] of Object.entries(secrets))
      await manager.docker(["secret", "create", `slipway-${name}`, "-"], {}, new Blob([value]));
    const file = inRepository("lib/docs/deploy/swarm-stack.yml");
    const variables = { SLIPWAY_IMAGE: image, SLIPWAY_TRUSTED_PROXIES: this.network.host };
    await manager.docker(["stack", "deploy", "--with-registry-auth", "-c", file, STACK], variables);
  }

  /** Drains a node, or makes it active again. */
  async update(place: number, availability: "active" | "drain"): Promise<void> {
    await this.node(1).docker(["node", "update", "--availability", availability, this.node(place).name]);
  }

  /** Waits until the Swarm has a healthy server on so many nodes. */
  async hasServers(count: number): Promise<void> {
    const listed = ["service", "ls", "--filter", `name=${SERVICE}`, "--format", "{{.Replicas}}"];
    const isSo = async () => (await this.node(1).docker(listed)).startsWith(`${count}/${count}`);
    if (!(await eventually(isSo, LONG_MS))) throw new Error(`There are not ${count} servers`);
  }

  /** Waits until the Swarm says that it does not hear from a node. */
  async misses(place: number): Promise<void> {
    const listed = ["node", "ls", "--filter", `name=${this.node(place).name}`, "--format", "{{.Status}}"];
    const isSo = async () => (await this.node(1).docker(listed)).trim() === "Down";
    if (!(await eventually(isSo, LONG_MS))) throw new Error(`node-${place} is not down`);
  }

  /** Returns the id of the server's container on a node; undefined while there is none that runs. */
  async container(place: number): Promise<string | undefined> {
    const filters = ["--filter", `label=com.docker.swarm.service.name=${SERVICE}`];
    const [id = ""] = (await this.node(place).docker(["ps", "-q", "--no-trunc", ...filters])).split("\n");
    return id === "" ? undefined : id;
  }

  /** Sends SIGKILL to the process of a server, and waits until the Swarm has started another one. */
  async killServer(place: number): Promise<void> {
    const node = this.node(place);
    const before = await this.container(place);
    if (before === undefined) throw new Error(`There is no server on node-${place}`);
    await node.kill(Number(await node.docker(["inspect", "--format", "{{.State.Pid}}", before])));
    const isAnother = async () => ![before, undefined].includes(await this.container(place));
    if (!(await eventually(isAnother, LONG_MS))) throw new Error(`No other server comes on node-${place}`);
  }

  /** Returns the invocations that a server attempts at the moment. */
  async attemptedBy(place: number): Promise<readonly string[]> {
    const leased = "select invocation_id as id from work where state = 'leased' and holder = $1";
    const rows = await this.#sql.unsafe<{ id: string }[]>(leased, [this.node(place).name]);
    return rows.map(({ id }) => id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
  }
}

/** Lets PostgreSQL take connections of the nodes without a password. */
async function letIn(postgres: PrivatePostgres, { host }: MachineNetwork): Promise<void> {
  await appendFile(join(postgres.directory, "data", "pg_hba.conf"), `host all all ${host}/24 trust\n`);
  await postgres.run("select pg_reload_conf()");
}

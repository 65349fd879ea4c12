import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Nullable } from "../../domain/types.ts";
import { type EngineConnection, EngineError, isEngineStatus } from "./connection.ts";
import { NAME_PREFIX, OWNER_LABEL } from "./containers.ts";

/** The beginning of the names of our own networks; an owner follows. */
export const ISOLATED_PREFIX = `${NAME_PREFIX}isolated-`;

const flag = Type.Optional(Nullable(Type.Boolean()));
const texts = Type.Optional(Nullable(Type.Record(Type.String(), Type.String())));
const Listed = Type.Array(
  Type.Object({
    Name: Type.String(),
    Labels: texts,
    Driver: Type.String(),
    Scope: Type.Optional(Type.String()),
    Attachable: flag,
    Ingress: flag,
    ConfigOnly: flag,
  }),
);
const Inspected = Type.Object({
  Id: Type.String({ minLength: 1 }),
  Driver: Type.String(),
  Options: texts,
  Labels: texts,
});

/** A network of the engine. */
export interface Network {
  readonly name: string;
  /** `bridge`, `overlay`, `macvlan`, ...; `host` and `null` are the host's own and none at all. */
  readonly driver: string;
  /** The reason why no container of ours can join it, or nothing. */
  readonly problem: string | undefined;
}

/** Lists the engine's networks. Throws `EngineError` or `engine_unavailable`. */
export async function listNetworks(connection: EngineConnection): Promise<Network[]> {
  const { status, body } = await connection.request({ operation: "network list", method: "GET", path: "/networks" });
  if (!Value.Check(Listed, body)) throw new EngineError("network list", status, "unexpected reply");
  return body.map((listed) => ({ name: listed.Name, driver: listed.Driver, problem: problemOf(listed) }));
}

/** Lists the names of the networks with a label, such as `name=value`. Throws `EngineError` or `engine_unavailable`. */
export async function labelledNetworks(connection: EngineConnection, label: string): Promise<string[]> {
  const query = { filters: JSON.stringify({ label: [label] }) };
  const operation = "network list";
  const { status, body } = await connection.request({ operation, method: "GET", path: "/networks", query });
  if (!Value.Check(Listed, body)) throw new EngineError(operation, status, "unexpected reply");
  return body.map(({ Name }) => Name);
}

/** The marks of a network that is ours. */
export interface NetworkDetails {
  readonly id: string;
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** The body of `POST /networks/create`. */
export type NetworkSpec = Readonly<Record<string, unknown>>;

/** Single networks. A request that fails throws `EngineError` or `engine_unavailable`. */
export class Networks {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  /** Returns a network, or nothing if the engine has none of this name. */
  async inspect(name: string): Promise<NetworkDetails | undefined> {
    const operation = "network inspect";
    try {
      const path = `/networks/${encodeURIComponent(name)}`;
      const { status, body } = await this.#connection.request({ operation, method: "GET", path });
      if (!Value.Check(Inspected, body)) throw new EngineError(operation, status, "unexpected reply");
      return { id: body.Id, driver: body.Driver, options: body.Options ?? {}, labels: body.Labels ?? {} };
    } catch (error) {
      if (isEngineStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Creates a network; 409 if there is one of this name. */
  async create(spec: NetworkSpec): Promise<void> {
    await this.#connection.request({
      operation: "network create",
      method: "POST",
      path: "/networks/create",
      body: spec,
    });
  }

  /** Removes a network, which may be gone already. The engine refuses while containers are in it. */
  async remove(id: string): Promise<void> {
    try {
      const path = `/networks/${encodeURIComponent(id)}`;
      await this.#connection.request({ operation: "network remove", method: "DELETE", path });
    } catch (error) {
      if (!isEngineStatus(error, 404)) throw error;
    }
  }
}

function problemOf(network: (typeof Listed)["static"][number]): string | undefined {
  if (network.Name.startsWith(ISOLATED_PREFIX) && network.Labels?.[OWNER_LABEL] !== undefined) {
    return 'it is what "isolated" stands for, and comes and goes: give that';
  }
  if (network.Driver === "host" || network.Driver === "null") return `it has the driver "${network.Driver}"`;
  if (network.Ingress) return "it is a swarm's ingress network";
  if (network.ConfigOnly) return "it is only a configuration for other networks";
  if (network.Scope === "swarm" && !network.Attachable) {
    return "it is a swarm network that containers cannot join: create it with --attachable";
  }
  return undefined;
}

import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Nullable } from "../../domain/types.ts";
import { type EngineConnection, EngineError } from "./connection.ts";

const flag = Type.Optional(Nullable(Type.Boolean()));
const Listed = Type.Array(
  Type.Object({
    Name: Type.String(),
    Driver: Type.String(),
    Scope: Type.Optional(Type.String()),
    Attachable: flag,
    Ingress: flag,
    ConfigOnly: flag,
  }),
);

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

function problemOf(network: (typeof Listed)["static"][number]): string | undefined {
  if (network.Driver === "host" || network.Driver === "null") return `it has the driver "${network.Driver}"`;
  if (network.Ingress) return "it is a swarm's ingress network";
  if (network.ConfigOnly) return "it is only a configuration for other networks";
  if (network.Scope === "swarm" && !network.Attachable) {
    return "it is a swarm network that containers cannot join: create it with --attachable";
  }
  return undefined;
}

import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { OWN_LABELS } from "../../domain/functions/rules.ts";
import { Nullable } from "../../domain/types.ts";
import { type EngineConnection, EngineError, isEngineStatus } from "./connection.ts";

const texts = Type.Optional(Nullable(Type.Record(Type.String(), Type.String())));
const Inspected = Type.Object({ Name: Type.String(), Labels: texts, Options: texts });
type Inspected = (typeof Inspected)["static"];
const Listed = Type.Object({ Volumes: Type.Optional(Nullable(Type.Array(Type.Object({ Name: Type.String() })))) });

/** The label of volumes that the engine made because a function named them. Its value is the server's owner. */
export const VOLUME_LABEL = `${OWN_LABELS}volume`;
/** The label of the volume that brings the gate into containers. */
export const GATE_LABEL = `${OWN_LABELS}gate`;
/** Docker's label of volumes that it made for one container, and removes with it. */
const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

/** Lists the names of the volumes with a label, such as `name=value`. Throws `EngineError` or `engine_unavailable`. */
export async function labelledVolumes(connection: EngineConnection, label: string): Promise<string[]> {
  const query = { filters: JSON.stringify({ label: [label] }) };
  const operation = "volume list";
  const { status, body } = await connection.request({ operation, method: "GET", path: "/volumes", query });
  if (!Value.Check(Listed, body)) throw new EngineError(operation, status, "unexpected reply");
  return (body.Volumes ?? []).map(({ Name }) => Name);
}

/**
 * Returns the reason why no function may have a volume, or nothing; also nothing if there is no such volume yet. Throws
 * `EngineError` or `engine_unavailable`.
 */
export async function namedVolumeProblem(connection: EngineConnection, name: string): Promise<string | undefined> {
  try {
    const path = `/volumes/${encodeURIComponent(name)}`;
    const { status, body } = await connection.request({ operation: "volume inspect", method: "GET", path });
    if (!Value.Check(Inspected, body)) throw new EngineError("volume inspect", status, "unexpected reply");
    // Podman also finds a volume by the beginning of its name. Docker creates the one that was named.
    return body.Name === name ? problemOf(body) : undefined;
  } catch (error) {
    if (isEngineStatus(error, 404)) return undefined;
    throw error;
  }
}

function problemOf({ Labels, Options }: Inspected): string | undefined {
  const own = Object.keys(Labels ?? {}).find((label) => label.startsWith(OWN_LABELS) && label !== VOLUME_LABEL);
  if (own !== undefined) return `its label "${own}" says that it is Slipway's own`;
  if (Object.hasOwn(Labels ?? {}, ANONYMOUS_LABEL))
    return "the engine made it for one container, and removes it with that";
  return Object.entries(Options ?? {}).some(([key, value]) => namesHost(key.toLowerCase(), value))
    ? "its driver's options name a device or a path, which may be the host's"
    : undefined;
}

/** Returns whether an option of a volume's driver can stand for something of the host: a device, a bind mount, any path. */
function namesHost(key: string, value: string): boolean {
  if (key === "device") return true;
  if (value.trim().startsWith("/")) return true;
  return key === "o" && value.split(",").some((word) => /^\s*r?bind\s*$/i.test(word));
}

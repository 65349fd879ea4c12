import { EngineClient } from "../../.ci/engine/engine-client.ts";
import { eventually } from "./pace.ts";

const OWNER_LABEL = "slipway.owner";

/** The time that the containers of a test may take to go after its end, in milliseconds. */
const GRACE_MS = 5_000;

interface Listed {
  readonly Names: readonly string[];
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
}

/** Returns the owners of the Slipway containers that exist before the tests begin. */
export async function foreignOwners(): Promise<ReadonlySet<string>> {
  const host = process.env["DOCKER_HOST"] ?? "";
  if (!host.startsWith("unix://")) return new Set();
  const containers = await listOwned(new EngineClient(host));
  return new Set(containers.map((container) => container.Labels[OWNER_LABEL] ?? ""));
}

/** Waits until the containers of the servers under test are gone; returns those that are left after 5 s. */
export async function strayContainers(client: EngineClient, foreign: ReadonlySet<string>): Promise<string[]> {
  let left: Listed[] = [];
  await eventually(async () => {
    left = (await listOwned(client)).filter(({ Labels }) => !foreign.has(Labels[OWNER_LABEL] ?? ""));
    return left.length === 0;
  }, GRACE_MS);
  return left.map((one) => `${one.Names[0]} ${one.State}`);
}

/** Returns the names of the containers of all Slipway servers on this engine. */
export async function ownedContainers(client: EngineClient): Promise<string[]> {
  return (await listOwned(client)).map((container) => container.Names[0] ?? "");
}

async function listOwned(client: EngineClient): Promise<Listed[]> {
  const filters = JSON.stringify({ label: [OWNER_LABEL] });
  const listed = await client.json("GET", `/containers/json?all=1&filters=${encodeURIComponent(filters)}`);
  return listed as Listed[]; // the engine's own format
}

import { EngineClient } from "../../.ci/engine/engine-client.ts";

const OWNER_LABEL = "slipway.owner";

/** How long the containers of a test may take to go after its end. */
const GRACE_MS = 5000;

interface Listed {
  readonly Names: readonly string[];
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
}

/** The owners of the Slipway containers that were there before the tests began. */
export async function foreignOwners(): Promise<ReadonlySet<string>> {
  const host = process.env["DOCKER_HOST"] ?? "";
  if (!host.startsWith("unix://")) return new Set();
  const containers = await listOwned(new EngineClient(host));
  return new Set(containers.map((container) => container.Labels[OWNER_LABEL] ?? ""));
}

/** What is left 5 s later of the containers that servers under test have started; empty when all is well. */
export async function strayContainers(client: EngineClient, foreign: ReadonlySet<string>): Promise<string[]> {
  const deadline = performance.now() + GRACE_MS;
  for (;;) {
    const left = (await listOwned(client)).filter(({ Labels }) => !foreign.has(Labels[OWNER_LABEL] ?? ""));
    if (left.length === 0 || performance.now() > deadline) return left.map((one) => `${one.Names[0]} ${one.State}`);
    // A removal sends no event that a client which comes late could wait for.
    await Bun.sleep(20);
  }
}

/** The names of the containers that any Slipway on this engine has. */
export async function ownedContainers(client: EngineClient): Promise<string[]> {
  return (await listOwned(client)).map((container) => container.Names[0] ?? "");
}

async function listOwned(client: EngineClient): Promise<Listed[]> {
  const filters = JSON.stringify({ label: [OWNER_LABEL] });
  const listed = await client.json("GET", `/containers/json?all=1&filters=${encodeURIComponent(filters)}`);
  return listed as Listed[]; // the engine's own format
}

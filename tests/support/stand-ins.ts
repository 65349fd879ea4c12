import { baseImage } from "../../.ci/engine/base-images.ts";
import { EngineError, type EngineClient } from "../../.ci/engine/engine-client.ts";

/** Images of a public registry, and the base images that stand in for them. */
const PUBLIC = [
  ["busybox", "1", "busybox"],
  ["oven/bun", "1", "bun"],
] as const;

/** The beginning of the other name that each stand-in has. */
const OWN = "slipway-test/base-";

/**
 * Gives stand-ins the names `busybox:1` and `oven/bun:1`, unless the engine has those images. Disposing the result takes the
 * names away again, also those that a run which was killed has left: a test that needs the real image would take the stand-in.
 */
export async function nameStandIns(client: EngineClient): Promise<AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  for (const [repository, tag, standIn] of PUBLIC) {
    const reference = `${repository}:${tag}`;
    const names = await namesOf(client, reference);
    if (names !== undefined && !names.some((name) => name.startsWith(OWN))) continue;
    await client.request("POST", `/images/${await baseImage(client, standIn)}/tag?repo=${repository}&tag=${tag}`);
    held.defer(async () => {
      await client.request("DELETE", `/images/${reference}?noprune=1`);
    });
  }
  return held.move();
}

/** Returns all names of an image; undefined if the engine does not have it. */
async function namesOf(client: EngineClient, reference: string): Promise<readonly string[] | undefined> {
  try {
    const found = (await client.json("GET", `/images/${reference}/json`)) as { RepoTags: string[] | null }; // the engine's own format
    return found.RepoTags ?? [];
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined;
    throw error;
  }
}

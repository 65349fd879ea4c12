import { type BaseImage, baseImage } from "../../.ci/engine/base-images.ts";
import { EngineError, type EngineClient } from "../../.ci/engine/engine-client.ts";

/** Images of a public registry, by the base images that stand in for them. */
const PUBLIC = {
  busybox: ["busybox", "1"],
  bun: ["oven/bun", "1"],
  python: ["python", "3-slim"],
  golang: ["golang", "1"],
} as const satisfies Partial<Record<BaseImage, readonly [repository: string, tag: string]>>;

/** The beginning of the other name that each stand-in has. */
const OWN = "slipway-test/base-";

/**
 * Gives stand-ins the names of public images, such as `busybox:1`, unless the engine has those images. Disposing the result takes the
 * names away again, also those that a run which was killed has left: a test that needs the real image would take the stand-in.
 */
export async function nameStandIns(
  client: EngineClient,
  standIns: readonly (keyof typeof PUBLIC)[] = ["busybox", "bun"],
): Promise<AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  for (const standIn of standIns) {
    const [repository, tag] = PUBLIC[standIn];
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

import type { Engine } from "../../.ci/engine/engine.ts";

/** Makes an image from another and these Dockerfile lines, and returns its id. The caller removes it. */
export async function imageWith(engine: Engine, image: string, ...changes: readonly string[]): Promise<string> {
  const container = (await engine.docker("create", image, "never-started")).trim();
  try {
    return (await engine.docker("commit", ...changes.flatMap((change) => ["--change", change]), container)).trim();
  } finally {
    await engine.docker("rm", container);
  }
}

import { type Engine, acquireEngine } from "../../../../.ci/engine/engine.ts";
import { fixture } from "../../../support/images.ts";

/** Containers that resemble ours in some way and that a sweep for `owner` must leave alone. */
export interface LookAlikes extends AsyncDisposable {
  /** Returns the names of those that are still running. */
  running(): Promise<string[]>;
  readonly names: readonly string[];
}

/**
 * Starts one with the owner's label and a foreign name, one with our name prefix and no label, one of an image with the
 * label, and one with our name prefix and another owner's label.
 */
export async function startLookAlikes(owner: string): Promise<LookAlikes> {
  const engine = await acquireEngine();
  const image = await fixture("chaos");
  const labelled = await imageWithLabel(engine, image, `slipway.owner=${owner}`);
  const id = crypto.randomUUID();
  const labelOf = (value: string) => ["--label", `slipway.owner=${value}`];
  const wanted = {
    [`tests-${id}-label`]: [...labelOf(owner), image],
    [`slipway-${id}-name`]: [image],
    [`tests-${id}-image`]: [labelled],
    [`slipway-${id}-other`]: [...labelOf(crypto.randomUUID()), image],
  };
  const sleep = ["--network", "none", "--entrypoint", "sleep"];
  for (const [name, [...options]] of Object.entries(wanted)) {
    const last = options.pop() ?? image;
    await engine.docker("run", "-d", "--name", name, ...sleep, ...options, last, "1000");
  }
  const names = Object.keys(wanted).toSorted();
  return {
    names,
    async running() {
      const listed = await engine.docker("ps", "--filter", `name=${id}`, "--format", "{{.Names}}");
      return listed.trim().split("\n").toSorted();
    },
    async [Symbol.asyncDispose]() {
      await engine.docker("rm", "-f", ...names);
      await engine.docker("rmi", "--no-prune", labelled);
    },
  };
}

async function imageWithLabel(engine: Engine, image: string, label: string): Promise<string> {
  const container = (await engine.docker("create", image)).trim();
  const made = (await engine.docker("commit", "--change", `LABEL ${label}`, container)).trim();
  await engine.docker("rm", container);
  return made;
}

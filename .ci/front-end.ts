import { inRepository } from "./steps.ts";

/** The first files of the dashboard, which the server has in its binary as `bundleFrontEnd` makes them. */
export const FRONT_END = [inRepository("lib/ui/start.js"), inRepository("lib/ui/style.css")] as const;

/** Bundles the dashboard for browsers. Returns the bundle of each first file by its path, and the files that went into them. */
export async function bundleFrontEnd(): Promise<{
  readonly bundles: ReadonlyMap<string, Uint8Array>;
  readonly inputs: readonly string[];
}> {
  const bundles = new Map<string, Uint8Array>();
  const inputs: string[] = [];
  for (const entry of FRONT_END) {
    const { outputs, metafile } = await Bun.build({
      entrypoints: [entry],
      target: "browser",
      minify: true,
      metafile: true,
    });
    const [output] = outputs;
    if (output === undefined) throw new Error(`The bundle of ${entry} is empty`);
    bundles.set(entry, new Uint8Array(await output.arrayBuffer()));
    inputs.push(...Object.keys(metafile?.inputs ?? {}));
  }
  return { bundles, inputs };
}

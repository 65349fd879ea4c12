import { join } from "node:path";
import type { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { importDirectory, withDirectory } from "../../../../.ci/engine/image-tree.ts";
import { runOrThrow } from "../../../../.ci/packages.ts";
import { inRepository } from "../../../../.ci/steps.ts";

/** The files that the Dockerfile's first stage makes, of a binary `$0`, in the folder `$1`. */
const ROOTFS = `
install -D "$0" "$1/usr/local/bin/slipway"
for library in $(ldd "$0" | grep -o '/[^ ]*'); do install -D "$library" "$1$library"; done
install -d -m 0777 "$1/data"
install -d -m 1777 "$1/tmp"
`;

/** Gives engines an image of the server with a binary of this machine, as the last stage of the repository's Dockerfile describes it. */
export async function importServerImage(
  engines: readonly EngineClient[],
  repository: string,
  binary: string,
): Promise<void> {
  const [, last = ""] = (await Bun.file(inRepository("Dockerfile")).text()).split(/^FROM scratch\n/m);
  const [copy, ...instructions] = last
    .replaceAll(/ *\\\n */g, " ")
    .trim()
    .split("\n");
  if (copy !== "COPY --from=build /rootfs /")
    throw new Error("The Dockerfile's last stage is not the one that is known here");
  await withDirectory(async (directory) => {
    const rootfs = join(directory, "rootfs");
    await runOrThrow(["sh", "-e", "-c", ROOTFS, binary, rootfs]);
    for (const engine of engines) await importDirectory(engine, rootfs, repository, "latest", instructions);
  });
}

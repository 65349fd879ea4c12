import { existsSync } from "node:fs";
import { chmod, copyFile, cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { EngineClient } from "../../.ci/engine/engine-client.ts";
import { buildDirectory, hasImage, importDirectory, withDirectory } from "../../.ci/engine/image-tree.ts";
import { ensureProgram, runOrThrow } from "../../.ci/packages.ts";
import { ensureImage } from "../../.ci/engine/samples.ts";

const REPOSITORY = join(import.meta.dir, "../..");

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** What of a Debian tree an image has no use for. */
const SUPERFLUOUS = ["usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"];

/**
 * A stand-in for `oven/bun:1` on which the Dockerfile of the server builds: Debian with apt, and Bun. Made once by
 * debootstrap, which takes half a minute.
 */
async function debianWithBun(client: EngineClient): Promise<string> {
  const release = await Bun.file("/etc/os-release").text();
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1] ?? "bookworm";
  const hash = new Bun.CryptoHasher("sha256").update(await Bun.file(import.meta.path).bytes()).digest("hex");
  const [name, tag] = ["slipway-test/base-debian-bun", `${suite}-${Bun.version}-${hash.slice(0, 8)}`];
  if (await hasImage(client, `${name}:${tag}`)) return `${name}:${tag}`;
  const debootstrap = await ensureProgram("debootstrap", ["debootstrap"]);
  await withDirectory(async (root) => {
    await runOrThrow([debootstrap, "--variant=minbase", "--include=ca-certificates", suite, root]);
    for (const path of SUPERFLUOUS) await rm(join(root, path), { recursive: true, force: true });
    // apt makes its own lists, but not the directories for them.
    for (const path of ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial"]) {
      await mkdir(join(root, path), { recursive: true });
    }
    const bun = join(root, "usr/local/bin/bun");
    await copyFile(process.execPath, bun);
    await chmod(bun, 0o755);
    // Where this machine's network has an authority of its own, the build has to trust it as well.
    await copyFile(CERTIFICATES, join(root, CERTIFICATES));
    await importDirectory(client, root, name, tag, [`ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}`, 'CMD ["bun"]']);
  });
  return `${name}:${tag}`;
}

/**
 * Builds the Dockerfile of the repository and returns the image's reference. The engine
 * caches the compilers and the packages, so that only the first build takes long.
 */
export async function buildServerImage(client: EngineClient): Promise<string> {
  const reference = "slipway-test/server:latest";
  const base = (await ensureImage(client, "oven/bun:1")) === undefined ? "oven/bun:1" : await debianWithBun(client);
  await withDirectory(async (directory) => {
    // What git would clone, with changes: the engine's own reading of .dockerignore is the docker program's work.
    const listed = await runOrThrow(["git", "-C", REPOSITORY, "ls-files", "-z", "-co", "--exclude-standard"]);
    const files = listed.split("\0").filter((name) => name !== "" && existsSync(join(REPOSITORY, name)));
    for (const name of files) await cp(join(REPOSITORY, name), join(directory, name));
    await buildDirectory(client, directory, reference, { BUN_IMAGE: base });
  });
  return reference;
}

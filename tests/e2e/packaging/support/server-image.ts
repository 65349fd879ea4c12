import { chmod, copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { buildDirectory, hasImage, importDirectory, withDirectory } from "../../../../.ci/engine/image-tree.ts";
import { ensureProgram, runOrThrow } from "../../../../.ci/packages.ts";
import { ensureImage } from "../../../../.ci/engine/samples.ts";
import { copyRepository } from "./repository.ts";

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** Directories of a Debian tree that an image does not need. */
const SUPERFLUOUS = ["usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"];

/**
 * Makes a stand-in for `oven/bun:1`, the base of the server's Dockerfile: Debian with apt and Bun. Debootstrap makes it
 * once, in half a minute.
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
    // apt creates its lists, but not their directories.
    for (const path of ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial"]) {
      await mkdir(join(root, path), { recursive: true });
    }
    const bun = join(root, "usr/local/bin/bun");
    await copyFile(process.execPath, bun);
    await chmod(bun, 0o755);
    // If this machine's network has a certificate authority of its own, the build must trust it too.
    await copyFile(CERTIFICATES, join(root, CERTIFICATES));
    await importDirectory(client, root, name, tag, [`ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}`, 'CMD ["bun"]']);
  });
  return `${name}:${tag}`;
}

/** The base of the server's Dockerfile. */
const BASE = "oven/bun:1";

/** Returns whether the base is the real one: other tests give small stand-ins its name for a while. */
async function isPulled(client: EngineClient): Promise<boolean> {
  const { RepoDigests } = (await client.json("GET", `/images/${BASE}/json`)) as { RepoDigests: string[] | null }; // the engine's own format
  return (RepoDigests ?? []).length > 0;
}

/**
 * Builds the Dockerfile of the repository and returns the image's reference. The engine caches the compilers and the
 * packages, so only the first build is slow.
 */
export async function buildServerImage(client: EngineClient): Promise<string> {
  const reference = "slipway-test/server:latest";
  const isThere = (await ensureImage(client, BASE)) === undefined;
  const base = isThere && (await isPulled(client)) ? BASE : await debianWithBun(client);
  await withDirectory(async (directory) => {
    // Only these files: .dockerignore is read by the docker program, not by the engine.
    await copyRepository(directory);
    await buildDirectory(client, directory, reference, { BUN_IMAGE: base });
  });
  return reference;
}

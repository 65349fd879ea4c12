import { chmod, copyFile, mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EngineError, type EngineClient } from "./engine-client.ts";
import { runOrThrow } from "../packages.ts";

/** The files of an image; paths begin without a slash. */
export interface ImageTree {
  /** Path to the directory of this machine that is copied there; an empty path is the root. All else is laid over it. */
  readonly trees?: Readonly<Record<string, string>>;
  /** Path in the image to the file of this machine that is copied there. */
  readonly files?: Readonly<Record<string, string>>;
  /** Path to content. */
  readonly texts?: Readonly<Record<string, string>>;
  /** Path to the link's target. */
  readonly links?: Readonly<Record<string, string>>;
  /** Path to mode. */
  readonly directories?: Readonly<Record<string, number>>;
  /** Lines of a Dockerfile: CMD, ENV, WORKDIR and the like. */
  readonly changes?: readonly string[];
}

/**
 * Returns 16 hexadecimal digits that two trees share only if they have the same content. A directory that is copied counts
 * by its path and the time at which it was made.
 */
export async function hashOf(tree: ImageTree): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(JSON.stringify(tree));
  for (const path of Object.values(tree.trees ?? {})) hash.update(String((await stat(path)).mtimeMs));
  for (const file of Object.values(tree.files ?? {})) hash.update(await Bun.file(file).bytes());
  return hash.digest("hex").slice(0, 16);
}

/** Returns whether the engine has this image. */
export async function hasImage(client: EngineClient, reference: string): Promise<boolean> {
  try {
    await client.json("GET", `/images/${reference}/json`);
    return true;
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return false;
    throw error;
  }
}

/** Copies images from one engine to another. */
export async function copyImages(from: EngineClient, to: EngineClient, references: readonly string[]): Promise<void> {
  const query = new URLSearchParams(references.map((name): [string, string] => ["names", name]));
  const saved = await from.request("GET", `/images/get?${query.toString()}`);
  await to.progress("POST", "/images/load", {
    body: await saved.blob(),
    headers: { "content-type": "application/x-tar" },
  });
}

/** Makes an image of one layer from files of this machine, without a registry or a build. */
export async function importTree(client: EngineClient, name: string, tag: string, tree: ImageTree): Promise<void> {
  await withDirectory(async (directory) => {
    await stage(tree, directory);
    await importDirectory(client, directory, name, tag, tree.changes ?? []);
  });
}

/** Makes an image of one layer from a directory, the image's root. */
export async function importDirectory(
  client: EngineClient,
  directory: string,
  name: string,
  tag: string,
  changes: readonly string[],
): Promise<void> {
  const query = new URLSearchParams({ fromSrc: "-", repo: name, tag });
  for (const change of changes) query.append("changes", change);
  await client.progress("POST", `/images/create?${query.toString()}`, {
    body: await tarOf(directory),
    headers: { "content-type": "application/x-tar" },
  });
}

/** Builds an image from a directory like `docker build`, through the API: the docker program is not needed. */
export async function buildDirectory(
  client: EngineClient,
  directory: string,
  reference: string,
  buildArgs: Readonly<Record<string, string>> = {},
): Promise<string> {
  const query = new URLSearchParams({ t: reference, rm: "1", forcerm: "1", buildargs: JSON.stringify(buildArgs) });
  return client.progress("POST", `/build?${query.toString()}`, {
    body: await tarOf(directory),
    headers: { "content-type": "application/x-tar" },
  });
}

/** Runs `use` with an empty directory and removes it afterwards. */
export async function withDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-image-"));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function stage(tree: ImageTree, root: string): Promise<void> {
  const place = async (path: string): Promise<string> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    return join(root, path);
  };
  for (const [path, source] of Object.entries(tree.trees ?? {})) {
    await mkdir(join(root, path), { recursive: true });
    await runOrThrow(["cp", "-a", `${source}/.`, join(root, path)]);
  }
  for (const [path, mode] of Object.entries(tree.directories ?? {})) {
    await mkdir(join(root, path), { recursive: true });
    await chmod(join(root, path), mode);
  }
  for (const [path, source] of Object.entries(tree.files ?? {})) {
    await copyFile(source, await place(path));
    await chmod(join(root, path), 0o755);
  }
  for (const [path, text] of Object.entries(tree.texts ?? {})) await Bun.write(await place(path), text);
  for (const [path, target] of Object.entries(tree.links ?? {})) await symlink(target, await place(path));
}

async function tarOf(directory: string): Promise<Blob> {
  const archive = `${directory}.tar`;
  try {
    await runOrThrow(["tar", "-C", directory, "--owner=0", "--group=0", "--numeric-owner", "-cf", archive, "."]);
    return new Blob([await Bun.file(archive).bytes()]);
  } finally {
    await rm(archive, { force: true });
  }
}

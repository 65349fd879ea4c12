import ignore from "@balena/dockerignore";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Pack } from "tar-stream";
import { codeOf } from "../../domain/errors.ts";

/** A build context, packed into a temporary file. */
export interface PackedContext extends AsyncDisposable {
  readonly path: string;
  /** The number of files, without folders. */
  readonly files: number;
}

/** A file, a folder or a link of a context. */
interface Found {
  /** Its path in the context. */
  readonly path: string;
  readonly stats: Awaited<ReturnType<typeof lstat>>;
}

/** Says what a build context has. */
interface ContextRules {
  readonly dockerfile: string;
  /** Lines that come before those of .dockerignore. */
  readonly left_out?: readonly string[];
  /** Called with each folder that is looked through, by its path in the context, before its names are read. */
  readonly onFolder?: (folder: string) => Promise<void>;
}

/**
 * Lists what the build context of a folder has, in order: all of it but what its .dockerignore excludes, by Docker's rules.
 * The Dockerfile and .dockerignore are always in it: the engine asks for them.
 */
export async function listContext(
  directory: string,
  { dockerfile, left_out = [], onFolder }: ContextRules,
): Promise<Found[]> {
  const rules = [...left_out, await readIgnoreFile(directory)].join("\n").trim();
  const excluded = ignore({ ignorecase: false }).add(rules);
  // A folder that is excluded can only be skipped if nothing in it is included again.
  const mayReturn = rules.split("\n").some((line) => line.trim().startsWith("!"));
  const needed = [dockerfile, ".dockerignore"];
  const found: Found[] = [];
  const visit = async (folder: string): Promise<void> => {
    await onFolder?.(folder);
    const names = (await readdir(join(directory, folder))).toSorted();
    for (const name of names) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const stats = await lstat(join(directory, path));
      const isOut = rules !== "" && excluded.ignores(path);
      const isNeeded = needed.some((one) => one === path || one.startsWith(`${path}/`));
      if (!isOut || isNeeded) found.push({ path, stats });
      if (stats.isDirectory() && (!isOut || isNeeded || mayReturn)) await visit(path);
    }
  };
  await visit("");
  return found;
}

/** Packs a folder. `extra` are files that are not in it, by path. */
export async function packContext(
  directory: string,
  { extra, ...list }: Parameters<typeof listContext>[1] & { readonly extra: Readonly<Record<string, string>> },
): Promise<PackedContext> {
  const found = await listContext(directory, list);
  const { pack } = await import("tar-stream");
  const folder = await mkdtemp(join(tmpdir(), "slipway-context-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, "context.tar.gz");
    const packed = pack();
    const written = pipeline(packed, createGzip({ level: 1 }), createWriteStream(path, { mode: 0o600 }));
    const added = addAll(packed, directory, found, extra);
    await Promise.all([written, added]);
    const files = found.filter(({ stats }) => !stats.isDirectory()).length + Object.keys(extra).length;
    return { path, files, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function addAll(
  packed: Pack,
  directory: string,
  found: readonly Found[],
  extra: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    for (const one of found) await add(packed, directory, one);
    for (const [name, text] of Object.entries(extra)) packed.entry({ name, mode: 0o644 }, text);
    packed.finalize();
  } catch (error) {
    packed.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

/** Adds a file. As in Docker's own contexts it belongs to root, so that the same files make the same image for everyone. */
async function add(packed: Pack, directory: string, { path, stats }: Found): Promise<void> {
  const from = join(directory, path);
  const header = { name: path, mode: Number(stats.mode) & 0o7777, mtime: stats.mtime, uid: 0, gid: 0 };
  if (stats.isDirectory()) packed.entry({ ...header, name: `${path}/`, type: "directory" });
  else if (stats.isSymbolicLink()) packed.entry({ ...header, type: "symlink", linkname: await readlink(from) });
  // Sockets and devices have no place in a context.
  else if (stats.isFile()) {
    const entry = packed.entry({ ...header, type: "file", size: Number(stats.size) });
    await pipeline(createReadStream(from), entry);
  }
}

async function readIgnoreFile(directory: string): Promise<string> {
  try {
    return (await readFile(join(directory, ".dockerignore"), "utf8")).replace(/^\uFEFF/, "");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}

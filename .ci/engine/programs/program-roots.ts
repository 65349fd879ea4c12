import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { downloadPackages, unpackPackages } from "../newest-root.ts";
import { runOrThrow } from "../../packages.ts";

const NPM_PROGRAMS = import.meta.dir;
const DEBIAN_PROGRAMS = ["python3-flask", "gunicorn", "default-jre-headless", "dash"];
/** Folders that take room in an image, and that nobody reads there. */
const UNREAD = ["doc", "fonts", "i18n", "icons", "locale", "man"].map((name) => `usr/share/${name}`);

/**
 * Returns a directory with programs of npm as an image has them: `usr/bin/node`, `usr/bin/ffmpeg`, and packages in
 * `app/node_modules`. They are those of `package.json` here.
 */
export async function npmPrograms(): Promise<string> {
  const lock = await Bun.file(join(NPM_PROGRAMS, "bun.lock")).bytes();
  const hash = new Bun.CryptoHasher("sha256").update(lock).digest("hex").slice(0, 16);
  return cachedRoot(`npm-programs-${hash}`, async (root) => {
    const app = join(root, "app");
    await mkdir(join(root, "usr/bin"), { recursive: true });
    await mkdir(app);
    await runOrThrow(["cp", join(NPM_PROGRAMS, "package.json"), join(NPM_PROGRAMS, "bun.lock"), app]);
    // No hard links into the cache: an image must not change what other installations have.
    const install = [process.execPath, "install", "--frozen-lockfile", "--production", "--ignore-scripts"];
    await runOrThrow([...install, "--backend=copyfile", "--cwd", app]);
    const modules = join(app, "node_modules");
    for (const [program, from] of [
      ["node", `node-linux-${process.arch}/bin/node`],
      ["ffmpeg", `@ffmpeg-installer/linux-${process.arch}/ffmpeg`],
    ] as const) {
      await rename(join(modules, from), join(root, "usr/bin", program));
    }
    const packages = [`node-linux-${process.arch}`, "@ffmpeg-installer", ".bin/node"];
    await Promise.all(packages.map((name) => rm(join(modules, name), { recursive: true })));
  });
}

/** Returns the root of a Debian with Python, Flask and gunicorn, a Java runtime, and little else. */
export async function debianPrograms(): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256").update(JSON.stringify([DEBIAN_PROGRAMS, UNREAD])).digest("hex");
  return cachedRoot(`debian-programs-${hash.slice(0, 16)}`, async (root) => {
    await unpackPackages(await downloadPackages(join(dirname(root), "apt"), DEBIAN_PROGRAMS), root);
    // As the scripts of the packages do: without it, each start of Flask would compile it.
    if (process.getuid?.() === 0) await runOrThrow(["chroot", root, "python3", "-m", "compileall", "-q", "/usr/lib"]);
    await Promise.all(UNREAD.map((path) => rm(join(root, path), { recursive: true, force: true })));
  });
}

/**
 * Returns a directory that `build` fills the first time that it is asked for on this machine; what is beside it then is
 * removed. It is kept in `/var/cache/slipway` (or below XDG_CACHE_HOME, or for a plain user ~/.cache): remove it there to
 * have it built again.
 */
async function cachedRoot(name: string, build: (root: string) => Promise<void>): Promise<string> {
  const cache = process.env["XDG_CACHE_HOME"] || (process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache"));
  const directory = join(cache, "slipway", name);
  if (existsSync(directory)) return directory;
  await mkdir(dirname(directory), { recursive: true });
  const work = await mkdtemp(`${directory}-`);
  try {
    const root = join(work, "root");
    await build(root);
    // Whoever is first wins; the other's is as good.
    await rename(root, directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return directory;
}

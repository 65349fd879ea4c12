import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ensureProgram, requireProgram, run, runOrThrow, SetupError, updatePackageLists } from "../packages.ts";

/** The release of Debian that gets new engines first. */
const SUITE = "sid";
const PACKAGES = ["docker.io", "busybox-static"];
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** The directories that packages of a merged `/usr` expect to be links. */
const MERGED = ["bin", "sbin", "lib", "lib64"];
/** Mount points, and what dockerd would make itself if the root could be written. */
const DIRECTORIES = [
  "proc",
  "sys",
  "dev",
  "run",
  "tmp",
  "old",
  "etc/ssl",
  "etc/docker",
  "lib/modules",
  "opt/containerd",
];

/** The file that says which version of the engine a root has. */
const VERSION_FILE = "engine-version";

/** A root directory with an engine and the libraries that it needs, to pivot into. */
export interface EngineRoot {
  readonly directory: string;
  /** Debian's version of the engine's package. */
  readonly version: string;
}

/** One that is being built by this process. */
let building: Promise<void> | undefined;

/**
 * Returns a root with the newest engine that Debian has. It is made of Debian's packages, unpacked and not installed: no
 * script of theirs runs, and no device is made. That takes about 15 s, so it is kept in `/var/cache/slipway` (or below
 * XDG_CACHE_HOME); remove the directory there to get a newer one. Throws a `SetupError` if it cannot be had.
 */
export async function newestRoot(): Promise<EngineRoot> {
  const directory = join(process.env["XDG_CACHE_HOME"] || "/var/cache", "slipway", "newest-engine");
  if (!existsSync(join(directory, VERSION_FILE))) {
    building ??= buildRoot(directory).finally(() => (building = undefined));
    await building;
  }
  return { directory, version: (await Bun.file(join(directory, VERSION_FILE)).text()).trim() };
}

async function buildRoot(directory: string): Promise<void> {
  if (process.getuid?.() !== 0) throw unavailable("only root can build it");
  await mkdir(dirname(directory), { recursive: true });
  const work = await mkdtemp(`${directory}-`);
  try {
    const packages = await downloadPackages(join(work, "apt"), PACKAGES, SUITE);
    const root = join(work, "root");
    await unpackPackages(packages, root);
    await writeVersion(packages, root);
    // The first one wins; the other's is as good.
    await rm(directory, { recursive: true, force: true });
    await rename(root, directory).catch((error: unknown) => {
      if (!existsSync(join(directory, VERSION_FILE))) throw error;
    });
  } catch (error) {
    throw error instanceof SetupError ? error : unavailable(error instanceof Error ? error.message : String(error));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Downloads packages with everything that they depend on, as apt would for a machine that has nothing yet. Without a suite
 * it is that of this machine.
 */
export async function downloadPackages(apt: string, packages: readonly string[], suite?: string): Promise<string[]> {
  await ensureProgram("apt-get", ["apt"]);
  for (const path of ["etc/apt.conf.d", "etc/preferences.d", "lists/partial", "archives/partial", "dpkg"])
    await mkdir(join(apt, path), { recursive: true });
  await Bun.write(join(apt, "dpkg/status"), "");
  const { address, codename } = await archive();
  const source = `deb [signed-by=${KEYRING}] ${address} ${suite ?? codename} main\n`;
  await Bun.write(join(apt, "etc/sources.list"), source);
  const options = [
    `Dir::Etc=${apt}/etc`,
    `Dir::State=${apt}`,
    `Dir::State::status=${apt}/dpkg/status`,
    `Dir::Cache=${apt}`,
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    "Acquire::Check-Valid-Until=false",
    "Acquire::Retries=3",
    "Acquire::http::Timeout=30",
  ].flatMap((option) => ["-o", option]);
  const get = (...words: string[]) => runOrThrow(["apt-get", "-q", ...options, ...words]);
  await get("update");
  await get("install", "-y", "--no-install-recommends", "--download-only", ...packages);
  const files = await Array.fromAsync(new Bun.Glob("*.deb").scan({ cwd: join(apt, "archives"), absolute: true }));
  return files.toSorted();
}

/** Returns the address of the archive that this machine gets its own packages from, and the name of its release. */
async function archive(): Promise<{ readonly address: string; readonly codename: string }> {
  const find = async (): Promise<string | undefined> => {
    const format = "$(ORIGIN) $(CODENAME) $(REPO_URI)";
    const { stdout } = await run(["apt-get", "indextargets", "--format", format, "Created-By: Packages"]);
    return stdout.split("\n").find((line) => /^Debian [a-z]+ http/.test(line));
  };
  // Debian's images come without package lists.
  let line = await find();
  if (line === undefined) {
    await updatePackageLists();
    line = await find();
  }
  const [, codename, address] = line?.split(" ") ?? [];
  if (codename === undefined || address === undefined) throw unavailable("this machine gets no packages from Debian");
  return { address, codename };
}

/** Unpacks packages into a new root. */
export async function unpackPackages(packages: readonly string[], root: string): Promise<void> {
  for (const name of MERGED) {
    await mkdir(join(root, "usr", name), { recursive: true });
    await symlink(`usr/${name}`, join(root, name));
  }
  for (const name of DIRECTORIES) await mkdir(join(root, name), { recursive: true });
  for (const name of ["resolv.conf", "hosts"]) await Bun.write(join(root, "etc", name), "");
  const dpkg = requireProgram("dpkg-deb");
  // Packages of older releases have things in /lib, which is a link here: tar goes through it only if told so.
  const unpackOne = 'set -o pipefail; "$1" --fsys-tarfile "$2" | tar -x -C "$3" --keep-directory-symlink';
  await Promise.all(packages.map((file) => runOrThrow(["bash", "-c", unpackOne, "bash", dpkg, file, root])));
  // A script of its package would choose one.
  if (!existsSync(join(root, "usr/sbin/xtables-nft-multi"))) return;
  for (const name of ["iptables", "ip6tables"]) await symlink("xtables-nft-multi", join(root, "usr/sbin", name));
}

async function writeVersion(packages: readonly string[], root: string): Promise<void> {
  const dpkg = requireProgram("dpkg-deb");
  const engine = packages.find((file) => file.includes("/docker.io_")) ?? "";
  const version = await runOrThrow([dpkg, "-f", engine, "Version"]);
  await Bun.write(join(root, VERSION_FILE), version);
}

function unavailable(why: string): SetupError {
  return new SetupError(
    `Cannot get the newest engine: ${why}. It is built from Debian's packages, by root on a Debian machine with a network.`,
  );
}

import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { findProgram, run, runOrThrow, updatePackageLists } from "../../../.ci/packages.ts";
import { inRepository } from "../../../.ci/steps.ts";

/** The folder into which Debian's packages are unpacked, once for a clone. */
const UNPACKED = inRepository(".cache", "proxies");

/** The proxies that Debian has, by the names of their packages and programs. */
const PROXIES = ["caddy", "haproxy", "nginx"] as const;

export type ProxyName = (typeof PROXIES)[number];

export interface Program {
  readonly path: string;
  /** The variables with which it finds its libraries. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Finds a proxy on this machine, or in Debian's package, which is unpacked with all that it needs but not installed: an
 * installed server would start and listen on port 80.
 */
export async function proxyProgram(name: ProxyName): Promise<Program> {
  const found = findProgram(name);
  if (found !== null) return { path: found, environment: {} };
  const path = (await unpacked(name)) ?? (await unpackAll(), await unpacked(name));
  if (path === undefined) throw new Error(`The package ${name} has no ${name}`);
  const libraries = await Array.fromAsync(
    new Bun.Glob("usr/lib/*-linux-gnu*").scan({ cwd: UNPACKED, onlyFiles: false, absolute: true }),
  );
  return { path, environment: { LD_LIBRARY_PATH: libraries.join(":") } };
}

async function unpacked(name: ProxyName): Promise<string | undefined> {
  if ((await run(["test", "-d", UNPACKED])).code !== 0) return undefined;
  const [path] = await Array.fromAsync(new Bun.Glob(`usr/{bin,sbin}/${name}`).scan({ cwd: UNPACKED, absolute: true }));
  return path;
}

async function unpackAll(): Promise<void> {
  await mkdir(inRepository(".cache"), { recursive: true });
  const directory = await mkdtemp(`${UNPACKED}-`);
  const simulated = `apt-get install --simulate -qq --no-install-recommends ${PROXIES.join(" ")}`;
  const unpack = [
    `cd ${directory}`,
    `packages=$(${simulated} | sed -n "s/^Inst \\([^ ]*\\) .*/\\1/p")`,
    'test -n "$packages"',
    "apt-get download -qq $packages",
    "for file in *.deb; do dpkg-deb --extract $file . && rm $file; done",
  ].join(" && ");
  // A new machine has no lists of packages.
  if ((await run(["sh", "-c", unpack])).code !== 0) {
    await updatePackageLists();
    await runOrThrow(["sh", "-c", unpack]);
  }
  // Tests run side by side: another one may have unpacked them meanwhile.
  const found = await Promise.all(PROXIES.map((name) => unpacked(name)));
  await rm(found.includes(undefined) ? UNPACKED : directory, { recursive: true, force: true });
  if (found.includes(undefined)) await rename(directory, UNPACKED);
}

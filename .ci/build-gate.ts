/**
 * Compiles the gate, the C sources of lib/gate and its folders, for both architectures into lib/gate/bin/: `bun .ci/build-gate.ts`.
 *
 * It runs before anything else exists (on a new machine, before the packages are installed and before the tests), so it
 * imports nothing from node_modules. As root on Debian or Ubuntu it installs missing compilers itself.
 */
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findProgram, installDebianPackages, run, SetupError } from "./packages.ts";

interface Target {
  /** The name of the file in bin/. */
  readonly name: string;
  readonly compiler: string;
  /** Debian's packages with the compiler and the static C library. */
  readonly packages: readonly string[];
}

const NATIVE = { compiler: "gcc", packages: ["gcc", "libc6-dev"] } as const;
const CROSS_X64 = {
  compiler: "x86_64-linux-gnu-gcc",
  packages: ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
} as const;
const CROSS_ARM64 = {
  compiler: "aarch64-linux-gnu-gcc",
  packages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
} as const;

const TARGETS: readonly Target[] = [
  { name: "gate-x64", ...(process.arch === "x64" ? NATIVE : CROSS_X64) },
  { name: "gate-arm64", ...(process.arch === "arm64" ? NATIVE : CROSS_ARM64) },
];

const DIRECTORY = join(dirname(import.meta.dir), "lib/gate");
const BIN = join(DIRECTORY, "bin");

const WARNINGS = "-Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror";
/**
 * The gate reads what functions write: a stack that watches itself, checked copies, and an address that nobody knows. As a
 * position-independent program it starts 0.03 ms later, of the 300 that a container takes, and has 45 KiB more.
 */
const HARDENING =
  "-fPIE -static-pie -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -Wl,-z,relro,-z,now,-z,noexecstack";
/** `-s` and `--build-id=none`: the same sources and compiler give the same bytes, no matter where they are built. */
const FLAGS = `-std=c11 -O2 ${HARDENING} -s -Wl,--build-id=none ${WARNINGS}`.split(" ");

/** Makes bin/gate-x64 and bin/gate-arm64 if they are missing or do not match the sources. Its errors are for people. */
export async function buildGate(): Promise<void> {
  // In the same order everywhere: it decides the layout of the binary.
  const names = (await readdir(DIRECTORY, { recursive: true })).filter((name) => /\.[ch]$/.test(name)).toSorted();
  const hash = await hashOf(names);
  const sources = names.filter((name) => name.endsWith(".c")).map((name) => join(DIRECTORY, name));
  await mkdir(BIN, { recursive: true });
  for (const target of TARGETS) {
    const binary = join(BIN, target.name);
    const stamp = `${binary}.sha256`;
    if ((await Bun.file(binary).exists()) && (await textOf(stamp)) === hash) continue;
    await ensureCompiler(target);
    await replaceFile(binary, (path) => compile(target, sources, path));
    await replaceFile(stamp, async (path) => void (await Bun.write(path, hash)));
  }
}

/** A hash of everything that decides what the binaries are: the flags, and the names and texts of all sources. */
async function hashOf(names: readonly string[]): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256").update(JSON.stringify(FLAGS));
  for (const name of names) hash.update(JSON.stringify([name, await Bun.file(join(DIRECTORY, name)).text()]));
  return hash.digest("hex");
}

/** Replaces a file in one step: two builds may run at once, and a program that is running cannot be written to. */
async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Compiles and links all sources with one command. */
async function compile(target: Target, sources: readonly string[], output: string): Promise<void> {
  const { code, stdout, stderr } = await run([target.compiler, ...FLAGS, "-o", output, ...sources]);
  if (code !== 0) throw new SetupError(`Cannot compile ${target.name} with ${target.compiler}:\n${stdout}${stderr}`);
}

async function ensureCompiler(target: Target): Promise<void> {
  if (await works(target)) return;
  const packages = target.packages.join(" ");
  const needs = `Cannot build ${target.name}: it needs ${target.compiler} and a static C library for it`;
  const advice = `On Debian and Ubuntu: sudo apt-get install ${packages}`;
  if (process.getuid?.() !== 0 || findProgram("apt-get") === null) throw new SetupError(`${needs}. ${advice}`);
  console.error(`Installing ${packages} to build ${target.name}`);
  try {
    await installDebianPackages(target.packages);
  } catch (error) {
    throw new SetupError(
      `${needs}, and installing them failed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (!(await works(target))) throw new SetupError(`${needs}. Installing ${packages} was not enough`);
}

/** Returns whether the compiler can make a static program: without the C library it compiles but does not link. */
async function works(target: Target): Promise<boolean> {
  if (Bun.which(target.compiler) === null) return false;
  const probe = join(BIN, `probe.${crypto.randomUUID()}`);
  try {
    await Bun.write(`${probe}.c`, '#include <stdio.h>\nint main(void) { return puts(""); }\n');
    await compile(target, [`${probe}.c`], probe);
    return true;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true });
    await rm(`${probe}.c`, { force: true });
  }
}

async function textOf(path: string): Promise<string | undefined> {
  const file = Bun.file(path);
  return (await file.exists()) ? await file.text() : undefined;
}

if (import.meta.main) {
  try {
    await buildGate();
  } catch (error) {
    console.error(error instanceof SetupError ? error.message : error);
    process.exit(1);
  }
}

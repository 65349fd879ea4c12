/**
 * Compiles gate.c for both architectures into bin/: `bun .ci/build-gate.ts`.
 *
 * It runs before anything else exists (on a fresh machine, before the tests), so it imports nothing from
 * node_modules, and where it may it installs the compilers itself.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

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
const SOURCE = "gate.c";
const BIN = `${DIRECTORY}/bin`;

/** `-s` and `--build-id=none`: the same source and compiler give the same bytes, wherever they are built. */
const FLAGS = "-std=c11 -O2 -static -s -Wl,--build-id=none -Wall -Wextra -Werror".split(" ");

/** Makes bin/gate-x64 and bin/gate-arm64 where they are missing or older than the source. Its errors are for people. */
export async function buildGate(): Promise<void> {
  const source = await Bun.file(`${DIRECTORY}/${SOURCE}`).text();
  const hash = new Bun.CryptoHasher("sha256").update(source).update(FLAGS.join(" ")).digest("hex");
  await mkdir(BIN, { recursive: true });
  for (const target of TARGETS) {
    const binary = `${BIN}/${target.name}`;
    const stamp = `${binary}.sha256`;
    if ((await Bun.file(binary).exists()) && (await textOf(stamp)) === hash) continue;
    await ensureCompiler(target);
    await replaceFile(binary, (path) => compile(target, SOURCE, path));
    await replaceFile(stamp, async (path) => void (await Bun.write(path, hash)));
  }
}

/** Two builds may run at once, and a running gate cannot be written to: so never write in place. */
async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function compile(target: Target, input: string, output: string): Promise<void> {
  const { exitCode, text } = await run([target.compiler, ...FLAGS, "-o", output, "-x", "c", input]);
  if (exitCode !== 0) throw new Error(`Cannot compile ${input} with ${target.compiler}:\n${text}`);
}

/** A compiler alone is not enough: without the static C library nothing links. */
async function ensureCompiler(target: Target): Promise<void> {
  if (await works(target)) return;
  const packages = target.packages.join(" ");
  if (process.getuid?.() !== 0 || Bun.which("apt-get") === null) {
    throw new Error(
      `Cannot build ${target.name}: it needs ${target.compiler} with a static C library. ` +
        `On Debian and Ubuntu: apt-get install ${packages}`,
    );
  }
  console.error(`Installing ${packages} to build ${target.name}`);
  let result = await install(target);
  if (result.exitCode !== 0) {
    // The package lists of a fresh machine are missing or old.
    await run(["apt-get", "update"]);
    result = await install(target);
  }
  if (await works(target)) return;
  throw new Error(
    `Cannot build ${target.name}: installing ${packages} did not bring a working compiler:\n${result.text}`,
  );
}

/** Waits for its turn where another apt-get is at work. */
function install(target: Target): Promise<Outcome> {
  const options = ["-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"];
  return run(["apt-get", "install", ...options, ...target.packages]);
}

async function works(target: Target): Promise<boolean> {
  if (Bun.which(target.compiler) === null) return false;
  const probe = `${BIN}/probe.${crypto.randomUUID()}`;
  try {
    await Bun.write(`${probe}.c`, '#include <stdio.h>\nint main(void) { return puts(""); }\n');
    await compile(target, `${probe}.c`, probe);
    return true;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true });
    await rm(`${probe}.c`, { force: true });
  }
}

interface Outcome {
  readonly exitCode: number;
  /** What it printed. */
  readonly text: string;
}

async function run(command: string[]): Promise<Outcome> {
  const child = Bun.spawn(command, {
    cwd: DIRECTORY,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { exitCode, text: stdout + stderr };
}

async function textOf(path: string): Promise<string | undefined> {
  const file = Bun.file(path);
  return (await file.exists()) ? await file.text() : undefined;
}

if (import.meta.main) {
  try {
    await buildGate();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureProgram, findProgram } from "../../.ci/packages.ts";
import { inRepository } from "../../.ci/steps.ts";

const NAME = `slipway-linux-${process.arch === "arm64" ? "arm64" : "x64"}.gz`;
const SCRIPT = inRepository(".ci/release/install.sh");

/** The programs that the script needs besides a shell and those that it may choose from. */
const NEEDED = ["uname", "mktemp", "mkdir", "rm", "mv", "chmod", "gunzip", "gzip", "sh"];

/** Machines: a shell with programs, by the names on them; those of busybox are all in one file. */
const MACHINES = {
  "dash, curl, sha256sum": { shell: "dash", programs: [...NEEDED, "curl", "sha256sum"], busybox: [] },
  "dash, wget, shasum": { shell: "dash", programs: [...NEEDED, "wget", "shasum"], busybox: [] },
  "busybox alone": { shell: "busybox", programs: [], busybox: [...NEEDED, "wget", "sha256sum"] },
} as const;
type Machine = keyof typeof MACHINES;
const machines = Object.keys(MACHINES) as Machine[]; // the keys above

const held = new AsyncDisposableStack();
let directory: string;
let url: string;
/** The server's files at the path of a release. A function answers by itself. */
const releases = new Map<string, ReadonlyMap<string, string | Uint8Array<ArrayBuffer>>>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-install-"));
  held.defer(() => rm(directory, { recursive: true }));
  for (const [program, debian] of [
    ["dash", "dash"],
    ["busybox", "busybox-static"],
    ["curl", "curl"],
    ["wget", "wget"],
    ["shasum", "perl"],
  ] as const)
    await ensureProgram(program, [debian]);
  for (const machine of machines) await writePrograms(machine);
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  held.defer(() => server.stop(true));
  url = `http://127.0.0.1:${server.port}`;
  const good = gzipped('#!/bin/sh\necho "slipway 9.9.9"\n');
  const sums = sumsOf({ [NAME]: good, "openapi.json": "{}" });
  const line = sumsOf({ [NAME]: good });
  release("right", { SHA256SUMS: sums, [NAME]: good });
  release("binary-mode", { SHA256SUMS: sums.replaceAll("  ", " *"), [NAME]: good });
  release("other-bytes", { SHA256SUMS: sums, [NAME]: gzipped('#!/bin/sh\necho "slipway 6.6.6"\n') });
  release("short-file", { SHA256SUMS: sums, [NAME]: good.slice(0, -9) });
  release("no-sums", { [NAME]: good });
  release("no-file", { SHA256SUMS: sums });
  release("empty-sums", { SHA256SUMS: "", [NAME]: good });
  release("not-named", {
    SHA256SUMS: sumsOf({ "openapi.json": "{}", [`x${NAME}`]: good, [`${NAME}x`]: good }),
    [NAME]: good,
  });
  release("sum-cut", { SHA256SUMS: `${line.slice(0, 40)}  ${NAME}\n`, [NAME]: good });
  release("line-cut", { SHA256SUMS: line.slice(0, -4), [NAME]: good });
  release("a-page", { SHA256SUMS: `<html>${sums}</html>`.replaceAll("\n", " "), [NAME]: good });
  const other = gzipped('#!/bin/sh\necho "something else"\n');
  release("other-program", { SHA256SUMS: sumsOf({ [NAME]: other }), [NAME]: other });
  const broken = gzipped("\x7fELF of another machine");
  release("other-machine", { SHA256SUMS: sumsOf({ [NAME]: broken }), [NAME]: broken });
  const plain = "not gzip";
  release("not-gzip", { SHA256SUMS: sumsOf({ [NAME]: plain }), [NAME]: plain });
});

afterAll(() => held.disposeAsync());

function release(name: string, files: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>>): void {
  releases.set(name, new Map(Object.entries(files)));
}

function answer(request: Request): Response {
  const [, name = "", file = ""] = new URL(request.url).pathname.split("/");
  const body = releases.get(name)?.get(file);
  return body === undefined ? new Response("Not found", { status: 404 }) : new Response(body);
}

function gzipped(text: string): Uint8Array<ArrayBuffer> {
  return Bun.gzipSync(text);
}

function sumsOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const line = ([name, content]: [string, string | Uint8Array]) =>
    `${new Bun.CryptoHasher("sha256").update(content).digest("hex")}  ${name}\n`;
  return Object.entries(files).map(line).join("");
}

/** Makes the directory that is the whole PATH of a machine. */
async function writePrograms(machine: Machine): Promise<void> {
  const { programs, busybox } = MACHINES[machine];
  await mkdir(join(directory, machine), { recursive: true });
  for (const name of programs) await symlink(findProgram(name) ?? name, join(directory, machine, name));
  for (const name of busybox) await symlink(findProgram("busybox") ?? "busybox", join(directory, machine, name));
}

/** Runs the script on a machine, on a directory that has an older slipway. Returns what it said and what is there. */
async function install(machine: Machine, args: readonly string[], script = SCRIPT) {
  const target = await mkdtemp(join(directory, "bin-"));
  await Bun.write(join(target, "slipway"), "#!/bin/sh\necho old\n");
  await chmod(join(target, "slipway"), 0o755);
  const { shell } = MACHINES[machine];
  const program = findProgram(shell) ?? shell;
  const command = [program, ...(shell === "busybox" ? ["sh"] : []), script, ...args];
  const child = Bun.spawn(
    command.map((arg) => (arg === "TARGET" ? target : arg)),
    {
      cwd: target,
      env: { PATH: join(directory, machine), TMPDIR: await mkdtemp(join(directory, "tmp-")) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const [out, error, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const installed = await new Response(Bun.spawn([join(target, "slipway")], { stdout: "pipe" }).stdout).text();
  return {
    out: out.replaceAll(target, "TARGET"),
    error,
    code,
    installed: installed.trim(),
    files: await readdir(target),
  };
}

const fromRelease = (name: string) => ["--from", `${url}/${name}`, "--dir", "TARGET"];

describe.each(machines)("on a machine with %s", (machine) => {
  test.each(["right", "binary-mode"])("the install script installs a release: %s", async (name) => {
    expect(await install(machine, fromRelease(name))).toEqual({
      out: "slipway 9.9.9 is installed: TARGET/slipway\nTARGET is not in your PATH\n",
      error: "",
      code: 0,
      installed: "slipway 9.9.9",
      files: ["slipway"],
    });
  });

  test.each<[name: string, message: RegExp]>([
    ["other-bytes", /the checksum of slipway-linux-\w+\.gz is [0-9a-f]{64}, and should be [0-9a-f]{64}: try again/],
    ["short-file", /the checksum of .* is [0-9a-f]{64}, and should be [0-9a-f]{64}/],
    ["no-sums", /cannot download http:.*\/SHA256SUMS/],
    ["no-file", /cannot download http:.*\/slipway-linux-\w+\.gz/],
    ["empty-sums", /the checksums of this release do not name slipway-linux-\w+\.gz/],
    ["not-named", /do not name slipway-linux-/],
    ["sum-cut", /do not name slipway-linux-/],
    ["line-cut", /do not name slipway-linux-/],
    ["a-page", /do not name slipway-linux-/],
    ["other-program", /does not run on this machine\. Nothing was installed/],
    ["other-machine", /does not run on this machine\. Nothing was installed/],
    ["not-gzip", /cannot unpack slipway-linux-/],
    ["nowhere", /cannot download/],
  ])("the install script refuses a release and replaces nothing: %s", async (name, message) => {
    const { out, error, code, installed, files } = await install(machine, fromRelease(name));
    expect({ out, code, installed, files }).toEqual({ out: "", code: 1, installed: "old", files: ["slipway"] });
    expect(error).toMatch(message);
    expect(error).toContain("install.sh: ");
  });
});

test.each<[args: string[], message: string]>([
  [["--form", "x"], "unknown option --form: there are --version, --dir and --from"],
  [["--dir"], "--dir needs a value"],
  [[], "this script is not from a release: name the address of its files with --from"],
  [["--from", "http://127.0.0.1:1/", "--dir", "/proc/nowhere"], "cannot download http://127.0.0.1:1/"],
])("the install script says what is wrong with %j", async (args, message) => {
  const { code, error, installed } = await install("dash, curl, sha256sum", args);
  expect([code, installed]).toEqual([1, "old"]);
  expect(error).toContain(message);
});

test("the install script writes through no link that somebody has left in a directory for all", async () => {
  const target = await mkdtemp(join(directory, "shared-"));
  const victim = join(directory, "victim");
  await Bun.write(victim, "untouched");
  const shell = findProgram("dash") ?? "dash";
  // The number of its process is the one thing about the script that can be known.
  const begin = 'ln -s "$1" "$2/.slipway-$$" && exec "$3" "$4" --from "$5" --dir "$2"';
  const args = [victim, target, shell, SCRIPT, `${url}/right`];
  const child = Bun.spawn([shell, "-c", begin, "begin", ...args], { stdio: ["ignore", "ignore", "ignore"] });
  expect([await child.exited, await Bun.file(victim).text()]).toEqual([0, "untouched"]);
});

test("a directory that cannot be written is said", async () => {
  const { code, error } = await install("busybox alone", ["--from", `${url}/right`, "--dir", "/proc/nowhere"]);
  expect([code, error]).toEqual([
    1,
    expect.stringContaining("cannot write to /proc/nowhere: run this as root, or name"),
  ]);
});

test("the script of a release asks for the latest one, or the one that is named", async () => {
  const text = await Bun.file(SCRIPT).text();
  const script = join(directory, "install.sh");
  await Bun.write(script, text.replace('RELEASES=""', `RELEASES="${url}/releases"`));
  const asked = async (...args: string[]) =>
    (await install("dash, curl, sha256sum", [...args, "--dir", "TARGET"], script)).error.split("\n").at(-2);
  expect(await asked()).toBe(`install.sh: cannot download ${url}/releases/latest/download/SHA256SUMS`);
  expect(await asked("--version", "v1.2.3")).toBe(
    `install.sh: cannot download ${url}/releases/download/v1.2.3/SHA256SUMS`,
  );
});

test("a script that was cut off on its way does nothing", async () => {
  const text = await Bun.file(SCRIPT).text();
  const script = join(directory, "cut.sh");
  const lines = text.trimEnd().split("\n");
  for (let kept = 1; kept < lines.length; kept += 7) {
    // In the middle of a line, too.
    const half = (lines[kept] ?? "").slice(0, 9);
    await Bun.write(script, [...lines.slice(0, kept), half].join("\n"));
    const { out, installed, files } = await install("dash, curl, sha256sum", fromRelease("right"), script);
    expect([kept, out, installed, files]).toEqual([kept, "", "old", ["slipway"]]);
  }
});

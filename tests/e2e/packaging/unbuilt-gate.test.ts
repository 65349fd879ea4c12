import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildGate } from "../../../.ci/build-gate.ts";

const ROOT = join(import.meta.dir, "../../..");
const BIN = join(ROOT, "lib/gate/bin");

/** A copy of the sources as a fresh clone has them: the packages are there, and the gate has never been built. */
let clone: string;

beforeAll(async () => {
  await buildGate();
  clone = await mkdtemp(join(tmpdir(), "slipway-clone-"));
  const filter = (path: string): boolean => path !== BIN;
  for (const name of ["index.ts", "package.json", "tsconfig.json", "bunfig.toml", "lib", ".ci"]) {
    await cp(join(ROOT, name), join(clone, name), { recursive: true, filter });
  }
  await symlink(join(ROOT, "node_modules"), join(clone, "node_modules"));
});

afterAll(() => rm(clone, { recursive: true, force: true }));

async function run(command: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([...command], { cwd: clone, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

test("bun index.ts says how to build the gate if that has not been done, and makes no data", async () => {
  const { code, stdout, stderr } = await run([process.execPath, "index.ts", "--port", "0"]);
  expect(stderr).toMatch(
    /^slipway: Cannot find the gate for (x64|arm64): it has not been built\. Run "bun run start", which builds it and starts the server, or "bun \.ci\/build-gate\.ts" to build it alone\n$/,
  );
  expect([code, stdout]).toEqual([1, ""]);
  expect(await Array.fromAsync(new Bun.Glob("*.db*").scan(clone))).toEqual([]);
});

test.each(["--help", "--version", "openapi"])("bun index.ts %s needs no gate", async (argument) => {
  const { code, stderr } = await run([process.execPath, "index.ts", argument]);
  expect([code, stderr]).toEqual([0, ""]);
});

test("build-gate.ts says which packages to install if there is no compiler and it may not install one", async () => {
  // In a user namespace without a mapping, in which we are not root and still own our files.
  const { code, stderr } = await run(["/usr/bin/unshare", "--user", process.execPath, ".ci/build-gate.ts"], {
    PATH: "/nonexistent",
  });
  expect(stderr).toMatch(
    /^Cannot build gate-\w+: it needs \S*gcc and a static C library for it\. On Debian and Ubuntu: sudo apt-get install \S*gcc\S* libc6-dev\S*\n$/,
  );
  expect(code).toBe(1);
});

test("build-gate.ts makes the same bytes wherever it runs, and then bun index.ts serves", async () => {
  const { PATH = "" } = process.env;
  const built = await run([process.execPath, ".ci/build-gate.ts"], { PATH, TMPDIR: clone });
  expect(built).toEqual({ code: 0, stdout: "", stderr: "" });
  for (const name of ["gate-x64", "gate-arm64"]) {
    const copy = Buffer.from(await Bun.file(join(clone, "lib/gate/bin", name)).bytes());
    expect(copy.equals(await Bun.file(join(BIN, name)).bytes())).toBe(true);
  }
  expect(await healthOfServer()).toBe(200);
});

/** Starts the server of the clone, asks it how it is, and stops it. */
async function healthOfServer(): Promise<number> {
  const child = Bun.spawn([process.execPath, "index.ts", "--port", "0", "--log-format", "json"], {
    cwd: clone,
    env: { DOCKER_HOST: `unix://${clone}/none.sock` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  let url: string | undefined;
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    log += text;
    url = /"url":"([^"]+)"/.exec(log)?.[1];
    if (url !== undefined) break;
  }
  if (url === undefined) throw new Error(`The server ended: ${log}`);
  const { status } = await fetch(`${url}/healthz`);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  return status;
}

import { afterAll, beforeAll, expect, test } from "bun:test";
import { constants } from "node:os";
import { mkdir } from "node:fs/promises";
import { callGate, scratch, sh, type Scratch } from "./support/gate-process.ts";

const { ENOENT, EACCES, ENOEXEC, ENOTDIR, E2BIG, EEXIST, ENOSPC, EAGAIN } = constants.errno;

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
  const at = root.path;
  for (const name of ["first", "second", "third", "contexts", "small"]) await mkdir(`${at}/${name}`);
  await Bun.$`printf '#!/bin/sh\necho second' > ${at}/second/tool && chmod 755 ${at}/second/tool`;
  await Bun.$`printf '#!/bin/sh\necho third' > ${at}/third/tool && chmod 755 ${at}/third/tool`;
  await Bun.$`echo data > ${at}/first/tool && chmod 644 ${at}/first/tool`;
  await Bun.$`echo 'echo no interpreter named' > ${at}/second/script && chmod 755 ${at}/second/script`;
  await Bun.$`touch ${at}/second/nothing && chmod 755 ${at}/second/nothing`;
  await Bun.$`printf '#!/no/such/thing\n' > ${at}/second/orphan && chmod 755 ${at}/second/orphan`;
  await mkdir(`${at}/first/folder`);
});
afterAll(() => root[Symbol.asyncDispose]());

const contexts = () => `${root.path}/contexts`;
const inPath = (...names: string[]) => ({ PATH: names.map((name) => `${root.path}/${name}`).join(":") });

test.each([
  ["a file that does not exist", "/no/such/thing", ENOENT],
  ["an empty name", "", ENOENT],
  ["a name that is not in PATH", "no-such-thing", ENOENT],
  ["a file below a file", "/etc/passwd/x", ENOTDIR],
  ["a file without the execute bit", "ROOT/first/tool", EACCES],
  ["a directory", "ROOT/first", EACCES],
  ["a script whose interpreter is missing", "ROOT/second/orphan", ENOENT],
  ["a script without a #! line", "ROOT/second/script", ENOEXEC],
  ["an empty file", "ROOT/second/nothing", ENOEXEC],
])("gate answers FAILED exec for %s", async (_, command, errno) => {
  const call = await callGate(contexts(), [command.replace("ROOT", root.path)], { id: crypto.randomUUID() });
  expect(call.frames).toEqual([{ type: "failed", stage: "exec", errno }]);
});

test.each([
  ["finds a command in PATH", ["second", "third"], "tool", "second\n"],
  ["goes on after a file that it cannot execute", ["first", "third"], "tool", "third\n"],
  ["goes on after a directory of that name", ["first", "second"], "folder", EACCES],
  ["reports a file that cannot be executed rather than those that are missing", ["first", "no-such"], "tool", EACCES],
  ["does not hand a file without an interpreter to a shell", ["second"], "script", ENOEXEC],
  ["skips a part of PATH that is not a directory", ["first/tool", "third"], "tool", "third\n"],
] as const)("gate %s", async (_, directories, command, result) => {
  const call = await callGate(contexts(), [command], { id: crypto.randomUUID(), env: inPath(...directories) });
  if (typeof result === "number") expect(call.failed).toEqual({ type: "failed", stage: "exec", errno: result });
  else expect(call.stdout).toBe(result);
});

test("gate treats an empty part of PATH as the working directory", async () => {
  const options = { env: { PATH: "/no-such:" }, cwd: `${root.path}/third` };
  expect((await callGate(contexts(), ["tool"], { id: crypto.randomUUID(), ...options })).stdout).toBe("third\n");
});

test("gate uses the engine's default if there is no PATH", async () => {
  const call = await callGate(contexts(), ["true"], { id: crypto.randomUUID(), prefix: ["env", "-u", "PATH"] });
  expect(call.exit).toMatchObject({ exitCode: 0 });
});

test("gate distinguishes a command that cannot be executed from one that exits with 127", async () => {
  const call = await callGate(contexts(), sh("no-such-thing"), { id: crypto.randomUUID() });
  expect(call).toMatchObject({ failed: undefined, exit: { exitCode: 127 } });
});

test("gate answers FAILED exec if its own variables make the environment too large", async () => {
  // With a small stack the kernel accepts 128 KiB of arguments and environment: enough to start the gate, but not for
  // two more variables, one of them a path of 4,000 bytes.
  const call = await callGate(contexts(), ["true", "x".repeat(64_500), "x".repeat(64_500)], {
    id: crypto.randomUUID(),
    contextRoot: contexts() + "/.".repeat(1_980),
    prefix: [...sh('ulimit -s 256; exec "$@"'), "sh"],
  });
  expect(call.failed).toEqual({ type: "failed", stage: "exec", errno: E2BIG });
});

test("gate answers FAILED context if the root is missing or the context exists", async () => {
  const missing = await callGate(`${root.path}/no-such`, ["true"]);
  expect(missing.frames).toEqual([{ type: "failed", stage: "context", errno: ENOENT }]);
  await mkdir(`${contexts()}/taken`);
  const taken = await callGate(contexts(), ["true"], { id: "taken" });
  expect(taken.frames).toEqual([{ type: "failed", stage: "context", errno: EEXIST }]);
});

test("gate answers FAILED request if the body does not fit, and reads the rest of it", async () => {
  const small = `${root.path}/small`;
  const prefix = ["unshare", "-m", ...sh(`mount -t tmpfs -o size=64k none "${small}" && exec "$@"`), "sh"];
  const call = await callGate(small, ["true"], { prefix, body: new Uint8Array(4 << 20) });
  expect(call.frames).toEqual([{ type: "failed", stage: "request", errno: ENOSPC }]);
});

test("gate answers FAILED start if it cannot fork", async () => {
  const open = `${root.path}/open`;
  await mkdir(open);
  await Bun.$`chmod 1777 ${open} && chmod 755 ${root.path}`;
  // A user id that nobody else has, so that the one process allowed is the gate.
  const prefix = ["prlimit", "--nproc=1", "setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
  const call = await callGate(open, ["true"], { prefix });
  expect(call.frames).toEqual([{ type: "failed", stage: "start", errno: EAGAIN }]);
});

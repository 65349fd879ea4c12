import { afterAll, beforeAll, expect, test } from "bun:test";
import { callGate, GateProcess, outcome, scratch, sh, witness, type Scratch } from "./support/gate-process.ts";

/** Makes the gate PID 1 of a namespace with its own /proc, as in a container. */
const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"];
const asInit = (...prefix: string[]) => ({ id: crypto.randomUUID(), prefix: [...UNSHARE, ...prefix] });

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
  await Bun.$`chmod 1777 ${root.path}`;
});
afterAll(() => root[Symbol.asyncDispose]());

test("gate as PID 1 answers a call like any other gate", async () => {
  const call = await callGate(
    root.path,
    sh('readlink /proc/1/exe; echo "[$$]" > "$CONTEXT_PATH/response.json"'),
    asInit(),
  );
  expect(call).toMatchObject({ stdout: expect.stringContaining("/gate-"), exit: { exitCode: 0 }, code: 0 });
  expect(Buffer.from(call.response).toString()).toMatch(/^\[\d+\]\n$/);
});

test("gate as PID 1 reaps orphans while the function runs", async () => {
  // Ends only when no zombie is left; otherwise the deadline passes.
  const script = `
    for i in 1 2 3 4 5 6 7 8 9 10; do ( ( exit 3 ) & ) ; done
    while grep -qs '^State:.Z' /proc/[0-9]*/status; do :; done
    exit 5`;
  const call = await callGate(root.path, sh(script), { ...asInit(), timeoutMs: 4_000 });
  expect(call).toMatchObject({ expired: false, exit: { exitCode: 5 } });
});

test("gate as PID 1 ends the call when the function ends, not when an orphan does", async () => {
  const call = await callGate(root.path, sh("( ( sleep 0.05; exit 9 ) & ); sleep 0.2; exit 4"), asInit());
  expect(call.exit).toMatchObject({ exitCode: 4 });
});

test("gate as PID 1 kills whatever the function left, in any group or session, even if it ignores SIGTERM", async () => {
  await using here = await scratch();
  const { path, gone } = await witness(here.path);
  const script = `exec 9>${path}; echo up >&9; trap '' TERM HUP; setsid sleep 60 & setsid yes & exit 0`;
  const call = await callGate(here.path, sh(script), { ...asInit(), logLimit: 10 });
  expect(call.exit).toMatchObject({ exitCode: 0 });
  await gone;
});

test("gate as PID 1 survives every signal that the function sends it", async () => {
  const script =
    'for s in $(seq 1 64); do kill -"$s" 1 2>/dev/null; done; echo "[1]" > "$CONTEXT_PATH/response.json"; exit 0';
  const call = await callGate(root.path, sh(script), asInit());
  expect(call).toMatchObject({ exit: { exitCode: 0, signal: 0 }, code: 0 });
  expect(Buffer.from(call.response).toString()).toBe("[1]\n");
});

test.each(["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"] as const)(
  "gate as PID 1 exits with everything that it started at a %s from outside",
  async (signal) => {
    await using here = await scratch();
    const { path, up, gone } = await witness(here.path);
    await using gate = new GateProcess(
      sh(`exec 9>${path}; echo up >&9; trap '' TERM; setsid sleep 60 & wait`),
      asInit(),
    );
    await gate.expect("ready");
    await gate.call(here.path);
    await up;
    // The process that unshare forked: the gate, by its id outside the namespace.
    const children = await Bun.file(`/proc/${gate.pid}/task/${gate.pid}/children`).text();
    process.kill(Number(children.trim()), signal);
    await gone;
    await gate.exited;
    expect(await gate.next()).toBeUndefined();
  },
);

test("gate as PID 1 kills a fork bomb when stdin ends", async () => {
  await using here = await scratch();
  await Bun.$`chmod 1777 ${here.path}`;
  const { path, up, gone } = await witness(here.path);
  // A user id that nobody else has: the limit counts all processes of a user.
  const user = ["prlimit", "--nproc=100", "setpriv", "--reuid=54322", "--regid=54322", "--clear-groups"];
  const bomb = `exec 9>${path} 2>/dev/null; bomb() { echo up >&9; (bomb) & (bomb) & wait; }; (bomb); sleep 60`;
  await using gate = new GateProcess(sh(bomb), asInit(...user));
  await gate.expect("ready");
  await gate.call(here.path);
  await up;
  await gate.hangUp();
  await gone;
});

test("gate as PID 1 hides its descriptors and memory from a function of the same user", async () => {
  const script =
    "for f in environ maps mem fd/0 fd/1 cwd; do cat /proc/1/$f 2>/dev/null && echo open $f; done; ls /proc/1/fd; id -u";
  const user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
  const call = await callGate(root.path, sh(script), asInit(...user));
  expect(call.stdout).toBe("65534\n");
  expect(call.stderr).toContain("Permission denied");
});

test("gate as PID 1 reports that the deadline passed and kills what SIGTERM does not end", async () => {
  await using here = await scratch();
  const { path, gone } = await witness(here.path);
  const script = `exec 9>${path}; echo up >&9; trap '' TERM; setsid sleep 60 & while :; do sleep 60; done`;
  await using gate = new GateProcess(sh(script), asInit());
  await gate.expect("ready");
  await gate.call(here.path, { timeoutMs: 300, graceMs: 100 });
  expect(await outcome(gate)).toMatchObject({ expired: true, exit: { signal: 9 }, code: 0 });
  await gone;
});

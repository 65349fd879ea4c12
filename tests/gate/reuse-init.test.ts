import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { compile } from "../../.ci/engine/compile.ts";
import { bodyFrames, encodeRequest } from "../../lib/runner/gate-protocol/frames.ts";
import {
  type GateProcess,
  outcome,
  requestIn,
  scratch,
  scratchIn,
  witness,
  type Scratch,
  type Told,
} from "./support/gate-process.ts";
import { initGate, initOf } from "./support/init-gate.ts";

const ROOT = "/tmp/context";

let host: Scratch;
beforeAll(async () => {
  host = await scratch();
  await Bun.$`chmod 755 ${host.path} && mkdir ${host.path}/keep && touch ${host.path}/keep/file`;
  await compile(`${import.meta.dir}/support/in-flight`, `${host.path}/in-flight`, "static");
});
afterAll(() => host[Symbol.asyncDispose]());

/** Runs a script, after which the gate has to be ready again. */
async function run(gate: GateProcess, body: string, root = ROOT): Promise<Told> {
  const told = await gate.serve(root, { body });
  await gate.expect("ready");
  return told;
}

/** Runs a script, after which the gate has to exit. */
async function runLast(gate: GateProcess, body: string): Promise<Told> {
  const told = await gate.serve(ROOT, { body });
  expect(await gate.next()).toBeUndefined();
  return told;
}

const LIST_PROCESSES = "echo /proc/[0-9]*";
/** Lists everything in the directories that are cleared, and counts System V objects. */
const LIST_TRACES = `
  cd /; find /tmp /dev/shm /dev/mqueue -mindepth 1 -not -path "$CONTEXT_PATH*" -not -path ${ROOT}
  cat /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem | grep -cv key`;

describe("gate as PID 1 kills, before it is ready again,", () => {
  test.each([
    ["children", "sleep 60 & sleep 60 &"],
    ["orphans in sessions of their own", "setsid sh -c 'sleep 60 & sleep 60' & sleep 0.05"],
    ["double forks that ignore signals", "trap '' TERM HUP INT; ( ( sleep 60; sleep 60 ) & ) & sleep 0.05"],
    ["stopped processes", "sleep 60 & kill -STOP $!"],
    ["processes that keep forking", "chain() { sleep 0 & chain & }; chain & chain & sleep 0.05"],
    ["a nested namespace", "unshare --pid --fork sh -c 'trap \"\" TERM; sleep 60 & wait' & sleep 0.05"],
  ])("%s", async (_, body) => {
    await using here = await scratch();
    const { gone } = await witness(here.path);
    await using gate = await initGate(here.path);
    await run(gate, `exec 9>/dev/host/witness; echo up >&9; ${body}`);
    await gone;
    const { stdout } = await run(gate, LIST_PROCESSES);
    expect(stdout.trim().split(" ")).toHaveLength(2);
  });
});

test("gate as PID 1 clears the directories that functions usually write to, follows no link, and keeps mounts", async () => {
  await using gate = await initGate(host.path, { prepare: "mkdir /tmp/mount && mount -t tmpfs none /tmp/mount" });
  const body = `
    cd /tmp
    mkdir -p a/b/c .hidden 'with space' sealed/x && echo 1 > a/b/c/file && ln a/b/c/file .hidden/hard
    touch "$(printf 'new\\nline')" -- -rf; touch mount/file; mkfifo fifo; chmod 0 sealed
    ln -s /dev/host/keep link; ln -s /dev/host/keep/file a/link; ln -s . a/self; ln -s /no/where a/none
    mkdir -p ${ROOT}/../context/other && ln -s /dev/host/keep ${ROOT}/evil && touch ${ROOT}/other/x
    rm -r "$CONTEXT_PATH" && ln -s /dev/host/keep "$CONTEXT_PATH"
    touch /dev/shm/segment /dev/mqueue/queue
    ipcmk -M 4096 > mount/1; ipcmk -M 4096 -p 0 > mount/2; ipcmk -Q -p 0 > mount/3; ipcmk -Q > mount/4; ipcmk -S 3 -p 0 > mount/5
    find /tmp /dev/shm /dev/mqueue | wc -l; cat /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem | grep -cv key`;
  const [files, objects] = (await run(gate, body)).stdout.split("\n").map(Number);
  expect(files).toBeGreaterThan(20);
  expect(objects).toBe(5);
  expect((await run(gate, LIST_TRACES)).stdout).toBe("/tmp/mount\n0\n");
  expect(await readdir(`${host.path}/keep`)).toEqual(["file"]);
});

test("gate as PID 1 clears around a context's root that is nested deeper", async () => {
  const root = "/tmp/a/b/context";
  await using gate = await initGate(host.path, { root });
  for (let call = 0; call < 3; call++) {
    const { stdout } = await run(
      gate,
      `find /tmp -mindepth 1 -not -path "$CONTEXT_PATH*"; touch /tmp/a/x /tmp/a/b/y`,
      root,
    );
    expect(stdout.trim().split("\n")).toEqual(["/tmp/a", "/tmp/a/b", root]);
  }
});

test("gate as PID 1 that is not root keeps the files of other users, and clears its own next to them", async () => {
  const prepare = `
    mkdir -m 777 /tmp/shared && mkdir /tmp/shared/full && touch /tmp/shared/full/theirs /tmp/theirs
    mkdir -m 700 /tmp/closed && touch /tmp/closed/theirs`;
  await using gate = await initGate(host.path, { prepare, nobody: true });
  await run(
    gate,
    "id -u; touch /tmp/mine /tmp/shared/mine; mkdir -p /tmp/shared/own/deep; ipcmk -M 4096; touch /dev/mqueue/q",
  );
  const { stdout } = await run(gate, `${LIST_TRACES} 2>/dev/null`);
  const left = ["/tmp/closed", "/tmp/shared", "/tmp/shared/full", "/tmp/shared/full/theirs", "/tmp/theirs"];
  expect(stdout.trim().split("\n").toSorted()).toEqual([...left, "0"].toSorted());
});

test("gate as PID 1 counts out-of-memory kills anew in each call", async () => {
  // Behind a link out of the mount: the gate compares what is in it.
  await using elsewhere = await scratchIn("/var/tmp");
  const counter = `${elsewhere.path}/memory.events`;
  const prepare = `echo "oom_kill 5" > ${counter}; ln -s ${counter} /sys/fs/cgroup/memory.events`;
  await using gate = await initGate(host.path, { prepare });
  const kills = async (body: string) => (await run(gate, body)).exit?.oomKills;
  expect(await kills("true")).toBe(0);
  expect(await kills(`echo "oom_kill 8" > ${counter}`)).toBe(3);
  expect(await kills("true")).toBe(0);
  expect(await kills(`echo "oom_kill 9" > ${counter}`)).toBe(1);
});

describe("gate as PID 1 clears", () => {
  test.each([
    ["9,999 files next to the context's root", "seq 9999 | (cd /tmp; xargs touch)"],
    ["63 levels", `cd /tmp; mkdir -p "$(printf 'd/%.0s' $(seq 63))"`],
  ])("%s", async (_, body) => {
    await using gate = await initGate(host.path);
    await run(gate, body);
    expect((await run(gate, "ls -A /tmp")).stdout).toBe("context\n");
  });
});

describe("gate as PID 1 exits instead of sending READY", () => {
  test.each([
    ["10,001 entries", "seq 10000 | (cd /tmp; xargs touch)"],
    [
      "10,001 entries in several directories",
      "cd /tmp; for d in 1 2 3 4 5; do mkdir $d; seq 2000 | (cd $d; xargs touch); done",
    ],
    ["10,001 entries in the context's root", `seq 10000 | (cd ${ROOT}; xargs touch)`],
    ["64 levels", `cd /tmp; mkdir -p "$(printf 'd/%.0s' $(seq 64))"`],
    ["64 levels in /dev/shm", `cd /dev/shm; mkdir -p "$(printf 'd/%.0s' $(seq 64))"`],
  ])("if there are %s", async (_, body) => {
    await using gate = await initGate(host.path);
    await runLast(gate, body);
  });

  test.each([
    ["a directory that it cannot read", "mkdir -p /tmp/sealed/x && chmod 0 /tmp/sealed"],
    [
      "a file in a directory that it cannot write to",
      "mkdir /tmp/sealed && touch /tmp/sealed/x && chmod 500 /tmp/sealed",
    ],
    ["a file in another user's directory that it can write to but not read", "touch /tmp/drop/mine"],
  ])("if it is not root and there is %s", async (_, body) => {
    await using gate = await initGate(host.path, {
      nobody: true,
      prepare: "mkdir -m 773 /tmp/drop && chmod o-r /tmp/drop",
    });
    const told = await runLast(gate, body);
    expect(told).toMatchObject({ stderr: "", exit: { exitCode: 0 } });
  });

  test.each([
    ["working directory is in /tmp", { cwd: "/tmp/work", prepare: "mkdir /tmp/work" }],
    [
      "program is in /tmp",
      { command: ["/tmp/bin/sh", "-c", "exit 0"], prepare: "mkdir /tmp/bin && cp /bin/sh /tmp/bin/sh" },
    ],
    ["script is in /dev/shm", { command: ["sh", "/dev/shm/run"], prepare: "echo 'exit 0' > /dev/shm/run" }],
    [
      "script is behind a link into /tmp",
      { command: ["sh", "/dev/run"], prepare: "echo 'exit 0' > /tmp/run; ln -s /tmp/run /dev/run" },
    ],
    [
      "script is in its working directory /tmp",
      { cwd: "/tmp", command: ["sh", "run"], prepare: "echo 'exit 0' > /tmp/run" },
    ],
  ])("if the image's %s", async (_, options) => {
    await using gate = await initGate(host.path, options);
    expect(await runLast(gate, "exit 0")).toMatchObject({ stderr: "", exit: { exitCode: 0 } });
    expect(await gate.exited).toBe(0);
  });

  test("when stdin ends while a process that it cannot kill is left", async () => {
    await using held = await heldGate();
    await held.gate.serve(ROOT, { body: "true" });
    await held.gate.hangUp();
    expect(await held.gate.next()).toBeUndefined();
    expect(await held.gate.exited).not.toBe(0);
  });

  test("when stdin ends after a request that came too early", async () => {
    await using held = await heldGate();
    await held.gate.serve(ROOT, { body: "true" });
    await held.gate.send(early("echo never"));
    await held.gate.hangUp();
    expect(await held.gate.next()).toBeUndefined();
  });

  test("at a signal from outside", async () => {
    await using held = await heldGate();
    await held.gate.serve(ROOT, { body: "true" });
    process.kill(await pidOf(held.gate), "SIGTERM");
    expect(await held.gate.next()).toBeUndefined();
  });
});

test("gate as PID 1 serves a request that came before it was ready again", async () => {
  await using held = await heldGate();
  await held.gate.serve(ROOT, { body: "true" });
  const bytes = early("echo $REQUEST_ID");
  await held.gate.send(bytes.subarray(0, 20));
  await held.gate.send(bytes.subarray(20));
  held.letGo();
  await held.gate.expect("ready");
  held.gate.conversation.call(requestIn(ROOT), Buffer.alloc(0));
  expect(await outcome(held.gate)).toMatchObject({ stdout: "early\n", exit: { exitCode: 0 }, code: 0 });
});

/** A complete request that is unknown to every conversation. */
function early(body: string): Buffer {
  const bytes = Buffer.from(body);
  const head = encodeRequest({ ...requestIn(ROOT, { id: "early" }), bodyLength: bytes.length, extraFrames: 0 });
  return Buffer.concat([head, ...bodyFrames(bytes)]);
}

/** A gate that cannot finish its reset: it has a child that does not belong to the function and that it cannot kill. */
async function heldGate() {
  const gate = await initGate(host.path, { nobody: true, prepare: "sleep 60 &" });
  const children = await childrenOf(await pidOf(gate));
  // The other child waits to become the function.
  const names = await Promise.all(children.map((pid) => Bun.file(`/proc/${pid}/comm`).text()));
  const stranger = children[names.indexOf("sleep\n")] ?? 0;
  return {
    gate,
    letGo: () => process.kill(stranger, "SIGKILL"),
    [Symbol.asyncDispose]: () => gate[Symbol.asyncDispose](),
  };
}

/** The process that unshare forked, by its id outside the namespace. */
async function pidOf(gate: GateProcess): Promise<number> {
  return (await childrenOf(gate.pid))[0] ?? 0;
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await Bun.file(`/proc/${pid}/task/${pid}/children`).text();
  return children.trim().split(" ").filter(Boolean).map(Number);
}

const IN_FLIGHT_CALLS = 3;

async function exitCode(gate: GateProcess, body: string): Promise<number | undefined> {
  return (await gate.serve(ROOT, { body })).exit?.exitCode;
}

// CELLS, the first trap
describe("gate as PID 1 has what is in flight collected before it is ready again:", () => {
  test.each([
    ["root", false],
    ["another user", true],
  ])("as %s, call after call", async (_, nobody) => {
    await using gate = await initGate(host.path, { nobody });
    for (let call = 0; call < IN_FLIGHT_CALLS; call++) {
      // The port would be taken, and the file missing in the space of the mount.
      expect(await exitCode(gate, "/dev/host/in-flight 8080 /tmp/deleted")).toBe(0);
      await gate.expect("ready");
    }
  });

  test("also where the function left other things", async () => {
    await using gate = await initGate(host.path);
    for (let call = 0; call < IN_FLIGHT_CALLS; call++) {
      expect(
        await exitCode(gate, "/dev/host/in-flight 8080 /dev/shm/deleted || exit; sleep 60 & touch /tmp/left"),
      ).toBe(0);
      await gate.expect("ready");
    }
  });

  test("where sockets of others stay, it does not wait for them", async () => {
    await using gate = await initGate(host.path);
    expect(await exitCode(gate, "true")).toBe(0);
    await gate.expect("ready");
    const other = Bun.spawn(["nsenter", "--target", String(await initOf(gate)), "--net", "sh", "-c", HOLD_SOCKET], {
      stdin: "pipe",
      stdout: "pipe",
    });
    expect((await other.stdout.getReader().read()).done).toBe(false);
    for (let call = 0; call < IN_FLIGHT_CALLS; call++) {
      expect(await exitCode(gate, "/dev/host/in-flight 8080 /tmp/deleted")).toBe(0);
      await gate.expect("ready");
    }
    await other.stdin.end();
    expect(await other.exited).toBe(0);
  });
});

/** Holds a unix socket until the end of its input. */
const HOLD_SOCKET = `exec perl -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; $| = 1; print "up\n"; <STDIN>'`;

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { open } from "node:fs/promises";
import { type GateProcess, scratch, type Scratch } from "./support/gate-process.ts";
import { type ContainerOptions, initGate, initOf } from "./support/init-gate.ts";

const ROOT = "/tmp/context";

let host: Scratch;
beforeAll(async () => {
  host = await scratch();
  await Bun.$`chmod 755 ${host.path}`;
});
afterAll(() => host[Symbol.asyncDispose]());

/** Runs a script; returns what it printed, and whether the gate is ready for another call. */
async function run(gate: GateProcess, body: string): Promise<{ stdout: string; ready: boolean }> {
  const { stdout, exit } = await gate.serve(ROOT, { body });
  expect(exit).toMatchObject({ exitCode: 0 });
  return { stdout, ready: (await gate.next())?.type === "ready" };
}

/** Two empty mounts, one with files, and a file that is a mount, as containers have them. */
const MOUNTS: ContainerOptions = {
  prepare: `
    mkdir /dev/empty "/dev/with space" /dev/full; touch /dev/.hosts /dev/hosts
    mount -t tmpfs -o mode=1777 none /dev/empty; mount -t tmpfs -o mode=1777,size=4m none "/dev/with space"
    mount -t tmpfs -o mode=1777 none /dev/full; mkdir -p /dev/full/a/b; echo 1 > /dev/full/a/b/file; ln -s a /dev/full/link
    chmod -R a+w /dev/full; chmod 666 /dev/.hosts; mount --bind /dev/.hosts /dev/hosts`,
};

// EDGE C3
describe("gate as PID 1 empties the mounts that were empty", () => {
  test.each([
    ["root", false],
    ["another user", true],
  ])("as %s, call after call", async (_, nobody) => {
    await using gate = await initGate(host.path, { ...MOUNTS, nobody });
    for (let call = 0; call < 3; call++) {
      const look = `cd /dev; find empty "with space" -mindepth 1`;
      const leave = `mkdir -p empty/a/b; echo x > empty/a/b/c; ln -s / empty/link; mkfifo "with space/pipe"; echo y > "with space/.hidden"`;
      expect(await run(gate, `${look}; ${leave}`)).toEqual({ stdout: "", ready: true });
    }
  });

  test("and goes on as before if nothing was left, or files have come and gone", async () => {
    await using gate = await initGate(host.path, MOUNTS);
    // The root of cgroup v1 is a tmpfs that root may write to.
    expect((await run(gate, "echo > /sys/fs/cgroup/left")).ready).toBe(true);
    expect(await run(gate, "ls -A /sys/fs/cgroup")).toEqual({ stdout: "", ready: true });
    const body = `cat /dev/full/a/b/file /dev/hosts > /dev/null; touch /dev/full/new /dev/new; rm /dev/full/new /dev/new; echo > /dev/null`;
    for (let call = 0; call < 3; call++) expect((await run(gate, body)).ready).toBe(true);
  });
});

// EDGE C3
describe("gate as PID 1 exits instead of sending READY if a function has", () => {
  test.each([
    ["made a file among those of a volume", "touch /dev/full/new"],
    ["made a file deeper among them", "touch /dev/full/a/b/new"],
    ["written to one of them", "echo 2 >> /dev/full/a/b/file"],
    ["written the same to one of them", "echo 1 > /dev/full/a/b/file"],
    ["set back the time of one", "cd /dev/full/a/b; touch -r file /dev/shm/t; echo 3 > file; touch -r /dev/shm/t file"],
    ["replaced one", "cd /dev/full/a/b; cp file new; mv new file"],
    ["removed one", "rm /dev/full/a/b/file"],
    ["renamed one", "mv /dev/full/a/b/file /dev/full/a/b/other"],
    ["moved one", "mv /dev/full/a/b/file /dev/full/a/file"],
    ["linked one", "ln /dev/full/a/b/file /dev/full/a/b/again"],
    ["changed the mode of one", "chmod 600 /dev/full/a/b/file"],
    ["changed the mode of a directory", "chmod 700 /dev/full/a"],
    ["turned a link", "ln -sfn b /dev/full/link"],
    ["changed the mode of a mount", "chmod 700 /dev/empty"],
    ["changed the mode of the context's root", `chmod 711 ${ROOT}`],
    ["changed the mode of /tmp", "chmod 711 /tmp"],
    ["changed the owner of /dev/shm", "chown 1:1 /dev/shm"],
    ["made a file in /dev", "touch /dev/left"],
    ["made a directory in /dev", "mkdir /dev/left"],
    ["changed the mode of a device", "chmod 600 /dev/null"],
    ["removed a device", "rm /dev/zero"],
    ["put a file in the place of a device", "rm /dev/zero && echo > /dev/zero"],
    ["made a device anew", "rm /dev/zero && mknod -m 666 /dev/zero c 1 5"],
    ["written to a file that is a mount", "echo 127.0.0.1 evil > /dev/hosts"],
  ])("%s", async (_, body) => {
    await using gate = await initGate(host.path, MOUNTS);
    expect((await run(gate, body)).ready).toBe(false);
  });

  test("filled a volume with more than can be compared before its first call", async () => {
    const prepare = `${MOUNTS.prepare ?? ""}; (cd /dev/full && seq 1001 | xargs touch)`;
    await using gate = await initGate(host.path, { prepare });
    expect((await run(gate, "true")).ready).toBe(false);
  });
});

const LIMITS = "as core cpu data fsize locks memlock msgqueue nofile nproc rss sigpending stack".split(" ");

// EDGE C4
describe("gate as PID 1 exits instead of sending READY if a function has changed its", () => {
  test.each([
    ...LIMITS.map((name) => [`limit ${name}`, `prlimit --pid 1 --${name}=900:900`] as const),
    ["soft limit alone", "prlimit --pid 1 --nofile=64:"],
    ["niceness", "renice -n 9 -p 1"],
    ["niceness by its user", "renice -n 1 -u $(id -u)"],
    ["scheduling", "chrt -b -p 0 1"],
    ["scheduling to idle", "chrt -i -p 0 1"],
    ["priority of input and output", "ionice -c 2 -n 7 -p 1"],
    ["score for the end of memory", "echo 700 > /proc/1/oom_score_adj"],
    ["filter of core dumps", "echo 1 > /proc/1/coredump_filter"],
    ["affinity", "taskset --pid --cpu-list 0 1"],
    ["timer slack", "echo 70000 > /proc/1/timerslack_ns"],
    ["group of the scheduler", "echo 5 > /proc/1/autogroup"],
  ])("%s", async (_, body) => {
    await using gate = await initGate(host.path);
    expect((await run(gate, `{ ${body}; } > /dev/null`)).ready).toBe(false);
  });

  test.each([
    ["limit", "prlimit --pid 1 --nofile=200:200"],
    ["niceness", "renice -n 9 -p 1 > /dev/null"],
    ["scheduling", "chrt -b -p 0 1"],
  ])("%s as its own user", async (_, body) => {
    await using gate = await initGate(host.path, { nobody: true });
    expect((await run(gate, body)).ready).toBe(false);
  });

  test("limits and then left something to be cleared", async () => {
    await using gate = await initGate(host.path);
    expect((await run(gate, "touch /tmp/left; prlimit --pid 1 --nofile=200:200")).ready).toBe(false);
  });
});

test("gate as PID 1 exits instead of sending READY if somebody still holds a file that the function has deleted", async () => {
  await using gate = await initGate(host.path);
  await Bun.$`mkfifo ${host.path}/made ${host.path}/held`;
  const call = run(gate, "echo > /tmp/deleted; echo > /dev/host/made; read _ < /dev/host/held; rm /tmp/deleted");
  await Bun.$`cat ${host.path}/made`.quiet();
  await using _held = await open(`/proc/${await initOf(gate)}/root/tmp/deleted`);
  await Bun.$`sh -c ${`echo > ${host.path}/held`}`;
  expect((await call).ready).toBe(false);
});

test("gate as PID 1 is ready again if a function has changed its own limits and priority", async () => {
  await using gate = await initGate(host.path);
  const body = "ulimit -n; ulimit -n 99; renice -n 7 -p $$ > /dev/null; echo 1 > /proc/self/coredump_filter";
  const first = await run(gate, body);
  expect(first.ready).toBe(true);
  expect(await run(gate, body)).toEqual(first);
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { callGate, type GateProcess, scratch, type Scratch } from "./support/gate-process.ts";
import { type ContainerOptions, initGate } from "./support/init-gate.ts";

// Issue 10, C: named volumes
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

/** Two mounts that calls share, one empty and one not, one that they do not, and one in another of the same filesystem. */
const MOUNTS: ContainerOptions = {
  prepare: `
    mkdir /dev/empty "/dev/a full" /dev/own /dev/outer /dev/both; ln -s empty /dev/link
    mount -t tmpfs -o mode=1777 none /dev/empty; mount -t tmpfs -o mode=1777 none "/dev/a full"; echo 1 > "/dev/a full/1"
    chmod 666 "/dev/a full/1"; mount -t tmpfs -o mode=1777 none /dev/own
    mount -t tmpfs none /dev/both; mkdir -m 777 /dev/both/outer /dev/both/outer/x /dev/both/inner
    mount --bind /dev/both/outer /dev/outer; mount --bind /dev/both/inner /dev/outer/x; umount /dev/both`,
};
const OPTIONS = ["--shared=/dev/link", "--shared=/dev/a full", "--shared=/dev/outer/x", "--"];

describe("gate as PID 1 leaves mounts alone that calls share", () => {
  test.each([
    ["root", false],
    ["another user", true],
  ])("as %s, and clears the others", async (_, nobody) => {
    await using gate = await initGate(host.path, { ...MOUNTS, options: OPTIONS, nobody });
    const body = `cd /dev; cat empty/* "a full/1" outer/x/* own/* 2>&-; echo x >> empty/new; echo 2 >> "a full/1"; echo y >> outer/x/new; echo z > own/z`;
    expect(await run(gate, body)).toEqual({ stdout: "1\n", ready: true });
    expect(await run(gate, body)).toEqual({ stdout: "x\n1\n2\ny\n", ready: true });
    // Something to be cleared takes the longer of two ways.
    expect(await run(gate, `touch /tmp/left; ${body}`)).toEqual({ stdout: "x\nx\n1\n2\n2\ny\ny\n", ready: true });
  });

  test("but not what surrounds them", async () => {
    await using gate = await initGate(host.path, { ...MOUNTS, options: OPTIONS });
    expect((await run(gate, "touch /dev/outer/new")).ready).toBe(false);
  });

  test("and serves one call only if an image's link puts one where it clears", async () => {
    const prepare = `mkdir -m 777 /tmp/volume; ln -s /tmp/volume /dev/link; mount -t tmpfs -o mode=1777 none /tmp/volume`;
    for (const path of ["/dev/link", "/tmp/volume", "/dev/shm", ROOT, "/nowhere"]) {
      await using gate = await initGate(host.path, { prepare, options: [`--shared=${path}`, "--"] });
      expect([path, await run(gate, "true")]).toEqual([path, { stdout: "", ready: false }]);
    }
  });
});

test("gate takes a command for an option of its own only before --", async () => {
  const ran = await callGate(host.path, ["--shared=/x", "--", "true"]);
  expect(ran).toMatchObject({ failed: undefined, exit: { exitCode: 0 } });
  await Bun.$`mkdir ${host.path}/other`;
  // There is no such program.
  const taken = await callGate(`${host.path}/other`, ["--", "--shared=/x", "true"]);
  expect(taken.failed).toEqual({ type: "failed", stage: "exec", errno: 2 });
});

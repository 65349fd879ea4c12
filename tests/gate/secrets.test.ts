import { afterAll, beforeAll, expect, test } from "bun:test";
import { constants } from "node:os";
import type { CallOptions, GateProcess, Told } from "./support/gate-process.ts";
import { callGate, outcome, scratch, type Scratch } from "./support/gate-process.ts";
import { initGate } from "./support/init-gate.ts";

const { ENODEV, ENOSPC } = constants.errno;
const ROOT = "/tmp/context";
const MOUNT = "mount -t tmpfs none /run; mkdir /run/secrets; mount -t tmpfs -o mode=1777,size=64k none /run/secrets";

let host: Scratch;
beforeAll(async () => {
  host = await scratch();
  await Bun.$`chmod 755 ${host.path}`;
});
afterAll(() => host[Symbol.asyncDispose]());

const secrets = (values: Record<string, string>): Pick<CallOptions, "files"> => ({
  files: Object.entries(values).map(([name, value]) => ({ place: "secrets", name, bytes: Buffer.from(value) })),
});

async function run(gate: GateProcess, body: string, values: Record<string, string>): Promise<Told> {
  const told = await gate.serve(ROOT, { body, ...secrets(values) });
  await gate.expect("ready");
  return told;
}

test.each([false, true])(
  "gate writes secrets for any user to read, and gives each call its own (as the user nobody: %p)",
  async (nobody) => {
    await using gate = await initGate(host.path, { prepare: MOUNT, nobody });
    const look = 'cd /run/secrets; for name in $(ls -A); do echo "$name $(stat -c %a $name) $(cat $name)"; done';
    expect((await run(gate, look, { one: "1", "two.pem": "line\nline" })).stdout).toBe(
      "one 444 1\ntwo.pem 444 line\nline\n",
    );
    expect((await run(gate, `${look}; rm -f one; echo forged > other`, { one: "2" })).stdout).toBe("one 444 2\n");
    expect((await run(gate, look, {})).stdout).toBe("");
    expect((await run(gate, look, { empty: "" })).stdout).toBe("empty 444 \n");
  },
);

test("gate clears secrets that a function has moved or copied, and keeps the image's own files", async () => {
  const keep = "mkdir -p /run/secrets/rhsm; touch /run/secrets/rhsm/ca.pem";
  await using without = await initGate(host.path, { prepare: `mount -t tmpfs none /run; ${keep}` });
  await run(without, "true", {});
  expect((await run(without, "find /run/secrets -type f", {})).stdout).toBe("/run/secrets/rhsm/ca.pem\n");

  await using gate = await initGate(host.path, { prepare: MOUNT });
  await run(gate, "cd /run/secrets; mkdir -p a/b; cp one a/b; ln one a/hard; mv one .hidden", { one: "1" });
  expect((await run(gate, "find /run/secrets", { one: "1" })).stdout.trim().split("\n").toSorted()).toEqual([
    "/run/secrets",
    "/run/secrets/one",
  ]);
});

test.each([
  ["no tmpfs", "mount -t tmpfs none /run; mkdir /run/secrets; mount -t proc none /run/secrets", ENODEV],
  ["a tmpfs that is too small", MOUNT, ENOSPC],
])("gate answers FAILED secrets if there is %s", async (_, prepare, errno) => {
  await using gate = await initGate(host.path, { prepare });
  await gate.call(ROOT, { body: "true", ...secrets({ large: "x".repeat(100_000) }) });
  expect((await outcome(gate)).failed).toEqual({ type: "failed", stage: "secrets", errno });
});

test("gate answers FAILED secrets if there is no directory for them", async () => {
  await using here = await scratch();
  const call = await callGate(here.path, ["true"], secrets({ "slipway-test": "1" }));
  expect(call.failed).toMatchObject({ type: "failed", stage: "secrets" });
});

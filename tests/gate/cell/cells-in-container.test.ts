import { beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { findProgram } from "../../../.ci/packages.ts";
import { fixture } from "../../support/images.ts";
import { rawFrame } from "../support/gate-frames.ts";
import { GATE, GateProcess, requestIn, sh } from "../support/gate-process.ts";

const ROOT = "/run/context";
const CAPABILITIES = ["--cap-add", "SYS_ADMIN"];
let host: string;
let image: string;

beforeAll(async () => {
  host = (await acquireEngine()).host;
  image = await fixture("shell");
});

/** Starts a gate that is asked for cells, in a container with these options; each request is the script that its call runs. */
function cellGate(...options: readonly string[]): GateProcess {
  const engine = [findProgram("docker") ?? "docker", "-H", host, "run", "--rm", "-i", "--network", "none"];
  const tmpfs = ["--tmpfs", `${ROOT}:rw,nosuid,nodev,mode=1777,size=8m`];
  const secrets = ["--tmpfs", "/run/secrets:rw,nosuid,nodev,noexec,mode=1777,size=1m"];
  const mounts = [...tmpfs, ...secrets, "-v", `${GATE}:/gate:ro`, "--security-opt", "no-new-privileges"];
  const own = ["--cell=8388608", `--context=${ROOT}`, "--user=1000:1000", "--drop=a8202000", "--without=/gate", "--"];
  return new GateProcess([...own, ...sh('. "$CONTEXT_PATH/request.json"')], {
    prefix: [...engine, "--user", "0:0", ...mounts, ...options, "--entrypoint", "/gate"],
    gate: image,
  });
}

test("gate runs each call in a cell of its own, as the function's user, and with the call's secrets alone", async () => {
  await using gate = cellGate(...CAPABILITIES);
  expect(await gate.expect("ready")).toMatchObject({ uid: 1000, gid: 1000, surroundings: "cells", why: "" });
  const look =
    "id -u; id -g; ls /run/secrets /tmp /dev/shm /dev/mqueue; cat /run/secrets/*; for process in /proc/[0-9]*; do echo process; done";
  for (let call = 0; call < 3; call++) {
    const { stdout, exit } = await gate.serve(ROOT, {
      body: `${look}; touch /tmp/left /dev/shm/left /dev/mqueue/left; (trap '' TERM; sleep 60) & echo $$ > /dev/stdout`,
      files: [{ place: "secrets", name: `of-${call}`, bytes: Buffer.from(`secret ${call}\n`) }],
    });
    // Of the processes it sees the cell's first one and itself.
    const found = ["1000", "1000", "/dev/mqueue:", "", "/dev/shm:", "", "/run/secrets:", `of-${call}`, "", "/tmp:"];
    expect(stdout.split("\n")).toEqual([...found, `secret ${call}`, "process", "process", "2", ""]);
    expect(exit).toMatchObject({ exitCode: 0, signal: 0, oomKills: 0, responseState: "fine" });
    await gate.expect("ready");
  }
});

test("gate ends a cell at the deadline, by SIGTERM first, and reports how it ended", async () => {
  await using gate = cellGate(...CAPABILITIES);
  await gate.expect("ready");
  const told = await gate.serve(ROOT, { body: "trap 'echo told; exit 7' TERM; sleep 60 & wait", timeoutMs: 500 });
  expect(told).toMatchObject({ expired: true, stdout: "told\n", exit: { exitCode: 7, signal: 0 } });
});

test("gate kills what ignores SIGTERM, and the cell's other processes with it", async () => {
  await using gate = cellGate(...CAPABILITIES);
  await gate.expect("ready");
  const told = await gate.serve(ROOT, {
    body: "trap '' TERM; while :; do sleep 1; done",
    timeoutMs: 500,
    graceMs: 200,
  });
  expect(told).toMatchObject({ expired: true, exit: { exitCode: 0, signal: 9 } });
});

test("gate with cells passes on any output byte for byte, up to the limit, and says READY after each", async () => {
  await using gate = cellGate(...CAPABILITIES);
  await gate.expect("ready");
  const bytes = fc.uint8Array({ maxLength: 2_000 });
  const octal = (of: Uint8Array) => [...of].map((byte) => `\\0${byte.toString(8).padStart(3, "0")}`).join("");
  await fc.assert(
    fc.asyncProperty(bytes, bytes, fc.integer({ min: 0, max: 2_000 }), async (out, err, logLimit) => {
      const body = `printf %b '${octal(out)}'; printf %b '${octal(err)}' >&2`;
      const told = await gate.serve(ROOT, { body, logLimit });
      const sent = (stream: string, type: "log" | "tail") =>
        Buffer.concat(told.frames.flatMap((one) => (one.type === type && one.stream === stream ? [one.bytes] : [])));
      expect(told.exit).toMatchObject({ exitCode: 0, signal: 0 });
      for (const [stream, all] of [
        ["stdout", out],
        ["stderr", err],
      ] as const) {
        const head = sent(stream, "log");
        expect(head.equals(all.subarray(0, head.length))).toBe(true);
        expect(Buffer.from(all).subarray(head.length).includes(sent(stream, "tail"))).toBe(true);
      }
      const head = sent("stdout", "log").length + sent("stderr", "log").length;
      expect(head).toBe(Math.min(logLimit, out.length + err.length));
      await gate.expect("ready");
    }),
    { numRuns: 40 },
  );
});

test("gate with cells answers FAILED frames to noise or waits for more, starts no function, and exits when stdin ends", async () => {
  const noise = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 100 }),
    fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 40 })).map((raw) => rawFrame(...raw)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(noise, { minLength: 1, maxLength: 4 }), async (pieces) => {
      await using gate = cellGate(...CAPABILITIES);
      await gate.expect("ready");
      gate.conversation.call(requestIn(ROOT), Buffer.alloc(0));
      await gate.send(...pieces);
      await gate.hangUp();
      const frame = await gate.next();
      if (frame) expect(frame).toMatchObject({ type: "failed", stage: "frames" });
      expect(await gate.exited).toBeOneOf([0, 1]);
    }),
    { numRuns: 4 },
  );
});

test.each<readonly [string, readonly string[], RegExp]>([
  ["may not make namespaces", [], /^the gate cannot set up new namespaces \(Operation not permitted\)$/],
  [
    "may not make devices",
    [...CAPABILITIES, "--cap-drop", "MKNOD"],
    /^the gate cannot set up \/dev\/\w+ \(Operation not/,
  ],
  [
    "has a directory of others",
    [...CAPABILITIES, "-v", "/data"],
    /^a cell cannot have the container's mount at \/data$/,
  ],
])("gate that %s says so in place of READY for calls, and serves none", async (_, options, why) => {
  await using gate = cellGate(...options);
  const ready = await gate.expect("ready");
  expect(ready).toMatchObject({ surroundings: "no_cells" });
  expect(ready.why).toMatch(why);
  await gate.call(ROOT, { body: "echo ran" });
  expect(await gate.next()).toBeUndefined();
});

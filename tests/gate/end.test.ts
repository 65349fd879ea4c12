import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { callGate, GateProcess, scratch, sh, witness, type Scratch } from "./support/gate-process.ts";
import { StalledGate } from "./support/stalled-gate.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

/**
 * Writes until the pipe to the gate, the gate's buffer and the FIFO behind it are full, then reports it. It tries again
 * after a pause: at the first refusal the gate may only have been slow.
 */
const FLOOD = `
  fill() { while dd if=/dev/zero bs=64k count=1 oflag=nonblock 2>/dev/null; do :; done; }
  fill; sleep 0.05; fill; sleep 0.05; fill
  echo up >&9; while :; do sleep 60; done`;

describe("at the deadline", () => {
  test("the function gets SIGTERM and may still answer", async () => {
    const script = `trap 'echo "[1]" > "$CONTEXT_PATH/response.json"; exit 7' TERM; sleep 60 & wait`;
    const call = await callGate(root.path, sh(script), { id: crypto.randomUUID(), timeoutMs: 600, graceMs: 20_000 });
    expect(call).toMatchObject({ expired: true, exit: { exitCode: 7, signal: 0, responseState: "fine" } });
    expect(Buffer.from(call.response).toString()).toBe("[1]\n");
    expect(call.exit?.wallUs).toBeWithin(590_000, 5_000_000);
  });

  test("the whole process group of the function gets SIGTERM", async () => {
    const script = `/bin/sh -c 'trap "echo child" TERM; sleep 60 & wait' & trap 'wait; exit 0' TERM; wait`;
    const call = await callGate(root.path, sh(script), { id: crypto.randomUUID(), timeoutMs: 600, graceMs: 20_000 });
    expect(call).toMatchObject({ expired: true, stdout: "child\n" });
  });

  test("a function that ignores SIGTERM is killed after the grace period", async () => {
    const script = "trap '' TERM; echo up; while :; do sleep 60; done";
    const call = await callGate(root.path, sh(script), { id: crypto.randomUUID(), timeoutMs: 600, graceMs: 200 });
    expect(call.frames.map((frame) => frame.type)).toEqual(["log", "expired", "exit", "response"]);
    expect(call.exit).toMatchObject({ exitCode: 0, signal: 9 });
    expect(call.exit?.wallUs).toBeWithin(790_000, 5_000_000);
  });

  test("a function that stopped itself is killed", async () => {
    const call = await callGate(root.path, sh("kill -STOP $$"), {
      id: crypto.randomUUID(),
      timeoutMs: 100,
      graceMs: 0,
    });
    expect(call).toMatchObject({ expired: true, exit: { signal: 9 } });
  });

  test("a request whose body has not arrived ends the same way, and nothing is run", async () => {
    await using gate = new GateProcess(sh("echo ran"));
    await gate.expect("ready");
    const options = {
      id: crypto.randomUUID(),
      contextRoot: root.path,
      timeoutMs: 100,
      graceMs: 0,
      responseLimit: 9,
      logLimit: 9,
      again: false,
      bodyFile: false,
    };
    const [head] = gate.conversation.call(options, Buffer.alloc(70_000));
    await gate.send(head ?? Buffer.alloc(0));
    expect(await gate.next()).toEqual({ type: "expired" });
    expect(await gate.next()).toMatchObject({ type: "exit", signal: 9, wallUs: 0, oomKills: 0 });
    expect(Buffer.from((await gate.expect("response")).bytes).toString()).toBe("{}");
  });
});

describe("when stdin ends", () => {
  test("before the request, gate exits", async () => {
    await using gate = new GateProcess(["true"]);
    await gate.expect("ready");
    await gate.hangUp();
    expect(await gate.exited).toBe(1);
    expect(await gate.next()).toBeUndefined();
  });

  test("while the function runs, it is killed with its children, even if they ignore SIGTERM", async () => {
    await using here = await scratch();
    const { path, gone } = await witness(here.path);
    await using gate = new GateProcess(sh(`exec 9>${path}; trap '' TERM; sleep 60 & echo up; wait`));
    await gate.expect("ready");
    await gate.call(here.path);
    await gate.expect("log");
    await gate.hangUp();
    await gone;
    expect(await gate.exited).toBe(1);
  });

  test("the function is killed even if nobody reads its output and every pipe is full", async () => {
    await using stalled = await StalledGate.start(FLOOD);
    await stalled.hangUp();
    await stalled.gone;
    expect(await stalled.exited).toBe(1);
  });

  test("in the middle of the answer, gate exits", async () => {
    await using stalled = await StalledGate.start(
      'echo up >&9; head -c 9000000 /dev/zero > "$CONTEXT_PATH/response.json"',
    );
    await stalled.gone;
    await stalled.hangUp();
    expect(await stalled.exited).toBe(1);
  });
});

test("gate enforces the deadline while nobody reads its output, and reports it afterwards", async () => {
  await using stalled = await StalledGate.start(FLOOD, { timeoutMs: 600, graceMs: 0 });
  await stalled.gone;
  const call = await stalled.read();
  expect(call).toMatchObject({ expired: true });
  expect(call.exit?.signal).toBeOneOf([9, 15]);
  expect(await stalled.exited).toBe(0);
});

test("gate kills the function when its own stdout has lost its reader", async () => {
  await using stalled = await StalledGate.start("echo up >&9; while :; do sleep 60; done");
  stalled.closeOutput();
  await stalled.gone;
  expect(await stalled.exited).toBe(1);
});

describe("gate's logs", () => {
  test("are sent up to the limit, which both streams share, and the rest is counted", async () => {
    const call = await callGate(root.path, sh("printf 12345; printf 12345 >&2; printf 123"), {
      id: crypto.randomUUID(),
      logLimit: 7,
    });
    expect(call.stdout.length + call.stderr.length).toBe(7);
    expect(call.exit).toMatchObject({ logDroppedBytes: 6 });
  });

  // C9: an error is usually told at the end.
  test("beyond the limit are kept as far as half of it goes, the last of them", async () => {
    const script = "printf 1234567890; printf abcdefgh >&2; printf klmno";
    const { stdout, frames, exit } = await callGate(root.path, sh(script), { id: crypto.randomUUID(), logLimit: 10 });
    const tail = frames.filter((frame) => frame.type === "tail");
    expect([stdout.length, exit?.logDroppedBytes]).toEqual([10, 13]);
    expect(tail.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(5);
    expect(frames.map((frame) => frame.type).indexOf("tail")).toBeGreaterThan(0);
    for (const { age_ms } of tail) expect(age_ms).toBeLessThan(30_000);
  });

  test("end with the last bytes, however many there were, each piece with its age", async () => {
    const script =
      "head -c 3000000 /dev/zero; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; sleep 0.3; echo last >&2";
    const { frames, exit } = await callGate(root.path, sh(script), { id: crypto.randomUUID(), logLimit: 2_000 });
    const tail = frames.filter((frame) => frame.type === "tail");
    const out = tail.filter(({ stream }) => stream === "stdout");
    const err = tail.filter(({ stream }) => stream === "stderr");
    const text = Buffer.concat(out.map(({ bytes }) => bytes)).toString();
    expect(text).toEndWith("line 2998\nline 2999\n");
    expect(Buffer.concat(err.map(({ bytes }) => bytes)).toString()).toBe("last\n");
    expect(text.length + 5).toBe(1_000);
    expect(exit?.logDroppedBytes).toBe(3_000_000 + printedLines(3_000) + 5 - 2_000);
    expect((out.at(-1)?.age_ms ?? 0) - (err[0]?.age_ms ?? 0)).toBeGreaterThanOrEqual(250);
  });

  test("are dropped entirely if the limit is 0", async () => {
    const call = await callGate(root.path, ["echo", "hello"], { id: crypto.randomUUID(), logLimit: 0 });
    expect(call.frames.map((frame) => frame.type)).toEqual(["exit", "response"]);
    expect(call.exit).toMatchObject({ logDroppedBytes: 6 });
  });

  test("of 256 MB without a newline are read and counted to the byte", async () => {
    const size = 256 << 20;
    const script = `head -c ${size} /dev/zero`;
    const call = await callGate(root.path, sh(script), { id: crypto.randomUUID(), logLimit: 65_536 });
    expect(call.stdout.length).toBe(65_536);
    expect(call.exit).toMatchObject({ exitCode: 0, logDroppedBytes: size - 65_536 });
  });

  test("of 64 MB all arrive if the limit allows it", async () => {
    const size = 64 << 20;
    const call = await callGate(root.path, sh(`head -c ${size} /dev/zero`), {
      id: crypto.randomUUID(),
      logLimit: size,
    });
    expect(call.stdout.length).toBe(size);
    expect(call.exit).toMatchObject({ logDroppedBytes: 0 });
  });

  test("that are still in the pipes when the function ends are not lost", async () => {
    for (let round = 0; round < 20; round++) {
      const call = await callGate(root.path, sh("printf %060000d 0; printf %060000d 0 >&2"), {
        id: crypto.randomUUID(),
      });
      expect([call.stdout.length, call.stderr.length]).toEqual([60_000, 60_000]);
    }
  });

  test("may be closed by the function, which goes on running", async () => {
    const call = await callGate(root.path, sh("exec >&- 2>&-; sleep 0.1; exit 4"), { id: crypto.randomUUID() });
    expect(call.exit).toMatchObject({ exitCode: 4 });
    expect(call.exit?.wallUs).toBeGreaterThan(90_000);
    expect(call.exit?.userUs).toBeLessThan(90_000);
  });
});

test("gate answers when the main process ends, even if a grandchild holds its output open, and kills the grandchild", async () => {
  await using here = await scratch();
  const { path, gone } = await witness(here.path);
  const call = await callGate(here.path, sh(`exec 9>${path}; sleep 60 & echo done`));
  expect(call).toMatchObject({ stdout: "done\n", exit: { exitCode: 0 } });
  expect(call.exit?.wallUs).toBeLessThan(5_000_000);
  await gone;
});

test("gate answers even if another process writes to its pipe forever", async () => {
  await using here = await scratch();
  const { path, gone } = await witness(here.path);
  // setsid takes it out of the process group, which is all that a gate can kill if it is not PID 1.
  const script = `exec 9>${path}; setsid yes & echo $! > "$CONTEXT_PATH/response.json"; sleep 0.1`;
  const call = await callGate(here.path, sh(script), { logLimit: 10 });
  expect(call.exit).toMatchObject({ exitCode: 0, responseState: "fine" });
  // Its pipe has no reader now, so it ends.
  await gone;
});

/** The bytes that `echo line $i` prints for every number below this one. */
function printedLines(count: number): number {
  return Array.from({ length: count }, (_, i) => `line ${i}\n`.length).reduce((sum, length) => sum + length, 0);
}

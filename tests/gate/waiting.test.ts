import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { GateProcess, requestIn, scratch, sh, type Scratch } from "./support/gate-process.ts";
import { initGate } from "./support/init-gate.ts";

const ROOT = "/tmp/context";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

/** Waits for the process that the gate forks before the request. */
async function waitingChild(gate: GateProcess): Promise<number> {
  for (;;) {
    const children = await Bun.file(`/proc/${gate.pid}/task/${gate.pid}/children`).text();
    if (children !== "") return Number(children.trim());
  }
}

describe("when the process that waits for a request is killed", () => {
  test("gate exits if there is no request yet", async () => {
    await using gate = new GateProcess(["true"]);
    await gate.expect("ready");
    process.kill(await waitingChild(gate), "SIGKILL");
    expect(await gate.next()).toBeUndefined();
    expect(await gate.exited).toBe(1);
  });

  test("while the body is incomplete, the call ends as if the function had been killed, and nothing is run", async () => {
    await using gate = new GateProcess(sh("echo ran"));
    await gate.expect("ready");
    const [head, first] = gate.conversation.call(requestIn(root.path), Buffer.alloc(70_000));
    await gate.send(head ?? Buffer.alloc(0), first ?? Buffer.alloc(0));
    process.kill(await waitingChild(gate), "SIGKILL");
    expect(await gate.next()).toMatchObject({ type: "exit", signal: 9, wallUs: 0 });
    expect(Buffer.from((await gate.expect("response")).bytes).toString()).toBe("{}");
  });

  test("gate exits in a second call as in the first", async () => {
    await using gate = new GateProcess(["true"]);
    await gate.expect("ready");
    await Bun.$`mkdir ${root.path}/again`;
    await gate.serve(`${root.path}/again`);
    await gate.expect("ready");
    process.kill(await waitingChild(gate), "SIGKILL");
    expect(await gate.next()).toBeUndefined();
  });
});

describe("gate as PID 1 sends READY again", () => {
  test.each([
    ["in one write with the answer if nothing is left of the call", "true", 1],
    ["after the answer if a file is left", "touch /tmp/left", 2],
    ["after the answer if a file is left in the context's root", `touch ${ROOT}/left`, 2],
    ["after the answer if a file is left in the context", "touch $CONTEXT_PATH/left", 2],
    ["after the answer if a process is left", "sleep 60 &", 2],
  ])("%s", async (_, body, writes) => {
    await using here = await scratch();
    await using gate = await initGate(here.path);
    const before = gate.chunks;
    await gate.serve(ROOT, { body });
    // Nobody reads while the second write comes: it is a separate chunk unless both were one write.
    await gate.expect("ready");
    expect(gate.chunks - before).toBeLessThanOrEqual(writes);
    expect((await gate.serve(ROOT, { body: `cd /; find /tmp ${ROOT} -name left` })).stdout).toBe("");
  });
});

test("gate exits with 0 when stdin ends after the last answer, and soon after the answer if it does not", async () => {
  for (const hangUp of [true, false]) {
    await using gate = new GateProcess(["true"]);
    await gate.expect("ready");
    await gate.serve(root.path, { again: false });
    if (hangUp) await gate.hangUp();
    expect(await gate.next()).toBeUndefined();
    expect(await gate.exited).toBe(0);
  }
});

test("gate exits at a request that comes later after READY than it may, and takes one that does not", async () => {
  for (const [withinMs, isTaken] of [
    [60_000, true],
    [1, false],
  ] as const) {
    await using gate = new GateProcess(["true"]);
    await gate.expect("ready");
    await Bun.sleep(5);
    await gate.call(root.path, { withinMs, again: false });
    expect((await gate.next()) !== undefined).toBe(isTaken);
  }
});

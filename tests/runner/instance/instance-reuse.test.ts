import { afterEach, describe, expect, test } from "bun:test";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { Run } from "../../../lib/runner/instance/instance.ts";
import { settled } from "../../support/fake-clock.ts";
import { answerOf, EXPIRED, exitOf, type FakeGate, logOf, READY, readyGate } from "./fake-gate.ts";

let gate: FakeGate;

/** A call that has its answer, after which the gate resets. */
async function answered(...frames: readonly GateFrame[]): Promise<Run> {
  gate = await readyGate();
  const run = gate.serve();
  await gate.say(...(frames.length > 0 ? frames : answerOf("[1]")));
  return run;
}

/** Returns whether the instance can serve another call, or "unknown" until that is decided. */
function reusable(run: Run): Promise<boolean | "unknown"> {
  return Promise.race([run.reusable, settled().then(() => "unknown" as const)]);
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

afterEach(async () => {
  gate.instance.retire();
  await settled();
  expect(gate.clock.pending).toBe(0);
});

test("Instance that may serve another call is resetting until its gate is ready again", async () => {
  const run = await answered();
  expect(run.outcome).toMatchObject({ status: "succeeded", response: { body: bytesOf("[1]") } });
  expect(await run.ended).toBe(run.outcome);
  expect(gate.instance.state).toBe("resetting");
  expect(await reusable(run)).toBe("unknown");
  await gate.say(READY);
  expect(gate.instance.state).toBe("ready");
  expect(await reusable(run)).toBe(true);
  expect(gate.closed).toBe(false);
});

test("Instance serves one call after the other, each with its own request, answer and logs", async () => {
  gate = await readyGate();
  for (let call = 1; call <= 5; call++) {
    const pending = gate.serve({ id: `id-${call}`, body: Buffer.from(`body-${call}`), again: call < 5 });
    expect(gate.written.includes(`id-${call}`)).toBe(true);
    expect(gate.written.includes(`body-${call}`)).toBe(true);
    await gate.say(logOf(`log-${call}`), ...answerOf(`[${call}]`, { exitCode: call - 1 }));
    const { outcome, reusable } = await pending;
    expect(outcome).toMatchObject({ exit_code: call - 1, response: { body: bytesOf(`[${call}]`) } });
    expect(outcome.logs).toMatchObject([{ stream: "stdout", text: `log-${call}` }]);
    expect(gate.instance.calls).toBe(call);
    if (call < 5) await gate.say(READY);
    expect(await reusable).toBe(call < 5);
  }
  expect(gate.instance.state).toBe("retired");
  expect(gate.closed).toBe(false);
  await gate.clock.advance(5);
  expect(gate.closed).toBe(true);
});

test("Instance may be ready again in the same chunk as its answer", async () => {
  const run = await answered(...answerOf("[1]"), READY);
  expect(await reusable(run)).toBe(true);
  expect(gate.instance.state).toBe("ready");
});

test("Instance cannot be called while it is resetting", async () => {
  await answered();
  const error = await gate.serve().catch((thrown: unknown) => thrown);
  expect(String(error)).toContain("resetting");
  expect(gate.instance.state).toBe("resetting");
});

test("Instance keeps its answer and can be reused if the caller goes away after the answer", async () => {
  gate = await readyGate();
  const caller = new AbortController();
  const pending = gate.serve({ signal: caller.signal });
  await gate.say(...answerOf("[1]"));
  const run = await pending;
  caller.abort(new Error("gone"));
  expect(run.outcome.status).toBe("succeeded");
  await gate.say(READY);
  expect(await reusable(run)).toBe(true);
});

test("Instance that waits for another call retires when its stream ends or its gate sends a frame", async () => {
  for (const frames of [[], [logOf("a")], [READY], [exitOf()]]) {
    const run = await answered();
    await gate.say(READY);
    if (frames.length === 0) await gate.hangUp();
    else await gate.say(...frames);
    expect(gate.instance.state).toBe("retired");
    expect(await reusable(run)).toBe(true); // as it was when it was asked
  }
});

describe("Instance retires instead of serving another call", () => {
  test("when its gate is not ready again within 5 s", async () => {
    const run = await answered();
    await gate.clock.advance(4_999);
    expect(gate.instance.state).toBe("resetting");
    await gate.clock.advance(1);
    expect(gate.instance.state).toBe("retired");
    expect(gate.closed).toBe(true);
    expect(await reusable(run)).toBe(false);
  });

  test("when its stream ends, without asking for the reason", async () => {
    const run = await answered();
    await gate.hangUp();
    expect(gate.instance.state).toBe("retired");
    expect(await reusable(run)).toBe(false);
    expect(gate.asked).toBe(0);
  });

  test.each<[string, GateFrame]>([
    ["a second answer", exitOf()],
    ["a log", logOf("a")],
    ["a READY of another version", { type: "ready", version: 2 }],
    ["EXPIRED", EXPIRED],
    ["FAILED", { type: "failed", stage: "frames", errno: 71 }],
  ])("when its gate sends %s before READY", async (_, frame) => {
    const run = await answered();
    await gate.say(frame);
    expect(gate.instance.state).toBe("retired");
    expect(await reusable(run)).toBe(false);
    expect(run.outcome.status).toBe("succeeded");
  });

  test("if the call was the last", async () => {
    gate = await readyGate();
    const run = gate.serve({ again: false });
    await gate.say(...answerOf("[1]"), READY);
    expect(await reusable(await run)).toBe(false);
    expect((await run).outcome.status).toBe("succeeded");
    expect(gate.instance.state).toBe("retired");
  });

  test("after FAILED", async () => {
    const run = await answered({ type: "failed", stage: "exec", errno: 2 });
    expect(run.outcome.reason).toBe("entrypoint_failed");
    expect(await reusable(run)).toBe(false);
  });

  test("after EXPIRED, once the gate has ended the function", async () => {
    const run = await answered(EXPIRED);
    expect(run.outcome.status).toBe("timed_out");
    expect(await reusable(run)).toBe("unknown");
    await gate.say(...answerOf("{}", { signal: 15 }));
    expect(await run.ended).toMatchObject({ status: "timed_out", signal: 15 });
    expect(await reusable(run)).toBe(false);
    expect(gate.instance.state).toBe("retired");
  });

  test("when the server's own timer had to end the call", async () => {
    gate = await readyGate();
    const run = gate.serve();
    await gate.clock.advance(1_250);
    expect((await run).outcome.status).toBe("timed_out");
    expect(await reusable(await run)).toBe(false);
  });

  test("when the caller went away before the answer", async () => {
    gate = await readyGate();
    const caller = new AbortController();
    const run = gate.serve({ signal: caller.signal });
    caller.abort(new Error("gone"));
    expect((await run).outcome.status).toBe("cancelled");
    expect(await reusable(await run)).toBe(false);
    expect(gate.closed).toBe(true);
  });

  test("if the kernel has killed a process because memory ran out, as the engine marks the container", async () => {
    const run = await answered(...answerOf("[1]", { oomKills: 1 }));
    expect(run.outcome.status).toBe("succeeded");
    expect(await reusable(run)).toBe(false);
  });

  test("when its stream ends in the middle of the answer, which is lost", async () => {
    gate = await readyGate();
    const run = gate.serve();
    await gate.say(exitOf({ responseBytes: 3 }));
    await gate.hangUp();
    expect((await run).outcome).toMatchObject({ status: "failed", reason: "instance_lost" });
    expect(await reusable(await run)).toBe(false);
    expect(gate.asked).toBe(1);
  });

  test("when it is retired from outside while it is resetting", async () => {
    const run = await answered();
    gate.instance.retire();
    expect(await reusable(run)).toBe(false);
    await gate.say(READY);
    expect(gate.instance.state).toBe("retired");
  });
});

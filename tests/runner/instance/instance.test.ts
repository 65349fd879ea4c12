import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../../../lib/domain/limits.ts";
import { NO_EXTRAS, type ExitFrame, type GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { InstanceCall } from "../../../lib/runner/instance/active-call.ts";
import { judge } from "../../../lib/runner/contracts/files.ts";
import { Instance, type Run } from "../../../lib/runner/instance/instance.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import type { Ending } from "../../../lib/runner/platform.ts";
import { NotDelivered } from "../../../lib/runner/instance/boot/not-delivered.ts";
import { FakeChannel, said } from "./fake-channel.ts";
import { rawFrame } from "../../gate/support/gate-frames.ts";

const TIMEOUT_MS = 1_000;
const ready: GateFrame = { type: "ready", version: 10, uid: 1000, gid: 1000 };
const expired: GateFrame = { type: "expired" };
const log = (text: string): GateFrame => ({ type: "log", stream: "stdout", bytes: Buffer.from(text) });
const response = (text: string): GateFrame => ({ type: "response", bytes: Buffer.from(text) });
const exit = (responseBytes: number, more: Partial<ExitFrame> = {}): ExitFrame =>
  exitFrame({ logDroppedBytes: 5, responseState: "fine", responseBytes, ...more });

let clock: FakeClock;
let channel: FakeChannel;
let instance: Instance;
let client: AbortController;

beforeEach(() => {
  clock = new FakeClock();
  client = new AbortController();
  channel = new FakeChannel();
  instance = new Instance(channel, clock);
});

afterEach(async () => {
  instance.retire();
  await clock.advance(5);
  expect([instance.state, channel.closed, clock.pending]).toEqual(["retired", true, 0]);
});

function call(more: Partial<InstanceCall> = {}): InstanceCall {
  const limits = {
    again: false,
    timeout_ms: TIMEOUT_MS,
    response_limit: 8,
    log_limit: 4,
    context_root: "/tmp/context",
    body_file: false,
    extras: NO_EXTRAS,
    secrets: [],
    judge,
  };
  return { id: "id", body: Buffer.from("{}"), signal: client.signal, ...limits, ...more };
}

/** Calls an instance that is ready, and lets its gate send these bytes. */
async function served(...chunks: readonly Uint8Array[]): Promise<Run> {
  channel.push(said(ready));
  await instance.ready(TIMEOUT_MS, client.signal);
  const run = instance.serve(call());
  await settled();
  for (const bytes of chunks) channel.push(bytes);
  return run;
}

test("an instance that has waited for longer than a gate can count is not given work, which goes to another one", async () => {
  channel.push(said(ready));
  await instance.ready(TIMEOUT_MS, client.signal);
  await clock.advance(50 * 24 * 3_600_000);
  expect(await instance.serve(call({ by: clock.monotonic() + 5_000 })).catch((error) => error)).toBeInstanceOf(
    NotDelivered,
  );
  expect(channel.written).toEqual([]);
});

describe("Instance serves a call", () => {
  test("and hands over the response, the logs and the resource use", async () => {
    const { outcome, ended } = await served(said(log("ab"), log("cd"), exit(2), response("[]")));
    expect(outcome).toMatchObject({
      status: "succeeded",
      exit_code: 0,
      cpu_ms: 3,
      peak_memory_bytes: 3,
      response_bytes: 2,
      log_bytes: 4,
      log_dropped_bytes: 5,
      logs: [{ stream: "stdout", text: "abcd" }],
    });
    expect(outcome.response?.body).toEqual(new TextEncoder().encode("[]"));
    expect(await ended).toBe(outcome);
    expect(instance.state).toBe("retired");
    await instance.retired;
  });

  test("however its stream is split into chunks", async () => {
    const whole = said(log("ab"), expired, log("c"), exit(3), response("1"), response("23"));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 60 }), async (sizes) => {
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const size of [...sizes, whole.length]) chunks.push(whole.subarray(at, (at += size)));
        channel = new FakeChannel();
        instance = new Instance(channel, clock);
        const { outcome, ended } = await served(...chunks.filter(({ length }) => length > 0));
        expect(outcome).toMatchObject({ status: "timed_out", response: null });
        expect(await ended).toMatchObject({ status: "timed_out", exit_code: 0, logs: [{ text: "abc" }] });
      }),
      { numRuns: 50 },
    );
  });
});

describe("Instance fails the call, and nothing else, when its gate breaks the protocol:", () => {
  test.each<[string, Uint8Array]>([
    ["an unknown type", rawFrame(0x42, Buffer.of(1))],
    ["a frame from the server's side", rawFrame(0x01, Buffer.alloc(30))],
    ["a payload over the limit", Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff])],
    ["a frame too short for its type", rawFrame(0x84, Buffer.alloc(10))],
    ["an unknown log stream", rawFrame(0x82, Buffer.from([7, 65]))],
    ["an unknown response state", said(exit(0)).fill(9, 5 + 46, 5 + 47)],
    ["a second READY", said(ready)],
    ["logs over the limit", said(log("abcde"))],
    ["a second EXPIRED", said(expired, expired)],
    ["RESPONSE before EXIT", said(response("{}"))],
    ["a response over the limit", said(exit(9))],
    ["more response than promised", said(exit(1), response("12"))],
    ["a second EXIT", said(exit(2), exit(2))],
    ["LOG within the response", said(exit(2), log("a"))],
  ])("%s", async (name, bytes) => {
    const { outcome, ended } = await served(bytes);
    // The answer of EXPIRED is final.
    const reason = name === "a second EXPIRED" ? "function_timeout" : "instance_lost";
    expect(outcome).toMatchObject({ reason, response: null });
    expect(await ended).toMatchObject({ reason });
    expect(instance.state).toBe("retired");
    // Later events change nothing and throw nothing.
    channel.push(said(exit(1), response("1")));
    channel.hangUp("late");
    channel.garble("late");
  });

  test("bytes that the channel itself cannot read", async () => {
    const run = served();
    await settled();
    channel.garble("a malformed header");
    const { outcome, ended } = await run;
    expect(outcome).toMatchObject({ reason: "instance_lost", response: null });
    expect(outcome.message).toContain("broke the protocol: a malformed header");
    expect(await ended).toMatchObject({ reason: "instance_lost" });
    expect(instance.state).toBe("retired");
  });

  test.each<[string, Uint8Array]>([
    ["LOG", said(log("a"))],
    ["EXIT", said(exit(0))],
    ["another version", said({ type: "ready", version: 2 })],
    ["garbage", Buffer.from("garbage, and enough of it")],
  ])("%s before READY rejects the caller that waits for READY", async (_, bytes) => {
    const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((thrown: unknown) => thrown);
    channel.push(bytes);
    expect(await waiting).toMatchObject({
      reason: "instance_lost",
      message: expect.stringContaining("broke the protocol"),
    });
    expect(channel.rejected).toBe(true);
  });

  test("READY of a user that the platform does not accept rejects the caller, and the gate is not to blame", async () => {
    channel.refused = 0;
    const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((thrown: unknown) => thrown);
    channel.push(said({ type: "ready", version: 10, uid: 0, gid: 0 }));
    expect(await waiting).toMatchObject({ reason: "entrypoint_failed", message: "user 0" });
    expect([instance.state, channel.closed, channel.rejected]).toEqual(["retired", true, false]);
  });

  test("any frame between READY and the request retires it", async () => {
    channel.push(said(ready));
    await instance.ready(TIMEOUT_MS, client.signal);
    channel.push(said(log("a")));
    await instance.retired;
    expect(instance.serve(call())).rejects.toThrow("cannot become busy");
  });
});

describe("Instance explains the end of its channel", () => {
  const GONE = new AppError("engine_unavailable", "gone");

  test.each<[string, Ending, string]>([
    ["a container that was ended", { how: "died" }, "instance_lost"],
    ["a gate that ran out of memory", { how: "out_of_memory" }, "out_of_memory"],
    ["an engine that is away", { how: "lost", problem: GONE }, "engine_unavailable"],
  ])("%s", async (_, ending, reason) => {
    channel.ending = ending;
    const run = served();
    await settled();
    channel.hangUp();
    const { outcome, ended } = await run;
    expect(outcome).toMatchObject({ status: "failed", reason, response: null });
    expect(await ended).toMatchObject({ reason });
    // The same before READY.
    channel = new FakeChannel();
    channel.ending = ending;
    instance = new Instance(channel, clock);
    const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((error: unknown) => error);
    channel.hangUp();
    expect(await waiting).toMatchObject({ reason });
    expect(channel.rejected).toBe(reason === "instance_lost");
  });

  test("in the middle of a response", async () => {
    const run = served(said(exit(4), response("12")));
    await settled();
    channel.hangUp();
    expect((await run).outcome).toMatchObject({ reason: "instance_lost", response: null });
  });
});

describe("Instance ends in time", () => {
  test("a gate that sends nothing: the server's own timer answers, a little later", async () => {
    const run = served();
    let answered = false;
    void run.then(() => (answered = true));
    await clock.advance(TIMEOUT_MS + TIMEOUT_SLACK_MS - 1);
    expect(answered).toBe(false);
    await clock.advance(1);
    expect((await run).outcome).toMatchObject({ status: "timed_out", reason: "function_timeout" });
    expect(instance.state).toBe("retired");
  });

  test("EXPIRED answers at once, and the function's last output is recorded", async () => {
    const { outcome, ended } = await served(said(expired));
    expect(outcome).toMatchObject({ status: "timed_out", exit_code: null, logs: [] });
    expect(instance.state).toBe("busy");
    channel.push(said(log("bye"), exit(0, { exitCode: 3 })));
    expect(await ended).toMatchObject({ status: "timed_out", exit_code: 3, logs: [{ stream: "stdout", text: "bye" }] });
  });

  test("a gate that falls silent after EXPIRED is given up after the grace period", async () => {
    const { ended } = await served(said(expired));
    await clock.advance(KILL_GRACE_MS + TIMEOUT_SLACK_MS);
    expect(instance.state).toBe("retired");
    expect(await ended).toMatchObject({ status: "timed_out", exit_code: null });
  });

  test("a gate that never sends READY", async () => {
    const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((error: unknown) => error);
    await clock.advance(TIMEOUT_MS);
    expect(await waiting).toMatchObject({
      reason: "engine_unavailable",
      message: expect.stringContaining("within 1000 ms"),
    });
    expect(instance.state).toBe("retired");
  });
});

describe("Instance is retired by its caller's signal", () => {
  test("while it starts", async () => {
    const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((error: unknown) => error);
    client.abort(new AppError("shutting_down", "stop"));
    expect(await waiting).toMatchObject({ reason: "shutting_down" });
  });

  test("while it runs", async () => {
    const run = served();
    await settled();
    client.abort();
    expect((await run).outcome).toMatchObject({ status: "cancelled", reason: "cancelled", response: null });
    expect(channel.closed).toBe(true);
  });

  test("before it was called", async () => {
    channel.push(said(ready));
    await instance.ready(TIMEOUT_MS, client.signal);
    client.abort();
    expect((await instance.serve(call())).outcome.status).toBe("cancelled");
  });
});

test("Instance.retire rejects the caller that waits for READY", async () => {
  const waiting = instance.ready(TIMEOUT_MS, client.signal).catch((error: unknown) => error);
  instance.retire();
  expect(await waiting).toBeInstanceOf(Error);
});

import { describe, expect, test } from "bun:test";
import type { CallLimits } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { rawFrame } from "../support/gate-frames.ts";
import { scratch, sh, witness } from "../support/gate-process.ts";
import { app, BootGate, serving, TestStream } from "./boot-gate.ts";
import { freePort } from "../../support/ports/free-port.ts";

/** Longer than any test: a limit that does not pass. */
const LONG: CallLimits = { withinMs: 600_000, mostMs: 600_000 };
/** One that passes, but not while a busy machine brings a byte to an app and back. */
const SHORT: CallLimits = { withinMs: 600_000, mostMs: 750 };
/** No gate can have a call so soon. */
const LATE: CallLimits = { withinMs: 1, mostMs: 600_000 };
const ETIMEDOUT = 110;
const ECONNREFUSED = 111;

/** Sends a byte to an app that echoes, and waits until it has come back. */
async function answered(stream: TestStream): Promise<void> {
  stream.write("x");
  await stream.until(({ text, reset }) => text === "x" || reset !== undefined);
  expect(stream.text).toBe("x");
}

describe("a call past its limit", () => {
  test.each([false, true])(
    "ends the instance with all that it started, frozen between calls (%p) or not",
    async (freeze) => {
      const port = freePort();
      await using own = await scratch();
      const { path, up, gone } = await witness(own.path);
      const command = [...sh(`exec 9>${path}; echo up >&9; sleep 1000 & exec "$@"`), "sh"];
      const options = { freeze };
      await using gate = await BootGate.booted(
        [...command, ...app("echo", port, "127.0.0.1", "--stubborn")],
        port,
        options,
      );
      await up;
      const stream = gate.open(SHORT);
      await answered(stream);
      expect(await gate.expect("exit")).toMatchObject({ signal: 9, exitCode: 0 });
      await gone;
      await stream.rest();
      expect(gate.frames.map(({ type }) => type).filter((type) => type !== "log")).toEqual([
        "ready",
        "booted",
        "expired",
        "exit",
      ]);
      expect(await gate.exited).toBe(0);
    },
  );

  test("ends it though other calls have more time, or none, or were opened before", async () => {
    for (const limits of [
      [LONG, SHORT],
      [SHORT, LONG],
      [undefined, SHORT],
      [SHORT, undefined],
    ]) {
      const port = freePort();
      await using gate = await BootGate.booted(app("echo", port), port);
      for (const stream of limits.map((one) => gate.open(one))) stream.write("x");
      expect(await gate.expect("exit")).toMatchObject({ signal: 9 });
    }
  });

  test("ends it also if the server has abandoned the call meanwhile", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port), port);
    const [stream, other] = [gate.open(SHORT), gate.open()];
    await answered(stream);
    await answered(other);
    stream.stream.abandon();
    await gate.expect("expired");
    await gate.expect("exit");
  });

  test("is no error of a server that ends or opens something at that moment", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port), port, {
      hears: ({ type }, conversation) => type === "expired" && conversation.finish(10_000),
    });
    await answered(gate.open(SHORT));
    await gate.expect("exit");
    expect(gate.problem).toBeUndefined();
    expect(gate.frames.some(({ type }) => type === "failed")).toBe(false);
  });
});

test("a call that has ended in time, or whose connection the app has ended, has no limit: the instance goes on", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("number", port), port);
  const ended = gate.open(SHORT);
  ended.write("end\n");
  await ended.until(({ ended: isEnded }) => isEnded);
  ended.stream.close();
  for (const keeps of [true, false]) {
    const stream = gate.open(SHORT);
    stream.write("x\n");
    await stream.until(({ text }) => text !== "");
    stream.stream.close(keeps);
  }
  await gate.until(() => gate.conversation.heldStreams === 0);
  await Bun.sleep(2 * SHORT.mostMs);
  const last = gate.open(LONG);
  last.write("x\n");
  await last.until(({ text }) => text !== "");
  expect(gate.frames.map(({ type }) => type)).not.toContain("expired");
});

test("a call that comes late is refused, reaches nobody, and leaves the instance as it is", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("number", port), port);
  const other = gate.open(LONG);
  other.write("x\n");
  await other.until(({ text }) => text === "1\n");
  const late = gate.open(LATE);
  late.write("x\n");
  await late.rest();
  expect(late.reset).toEqual({ errno: ETIMEDOUT, delivered: false });
  const next = gate.open(LONG);
  next.write("x\n");
  await next.until(({ text }) => text === "2\n");
  other.write("x\n");
  await other.until(({ text }) => text === "1\n1\n");
});

test("a call that crosses the end of the instance is refused", async () => {
  const port = freePort();
  let crossing: TestStream | undefined;
  await using gate = await BootGate.booted(app("echo", port), port, {
    hears: ({ type }, conversation) => {
      if (type === "expired") crossing = new TestStream((reader) => conversation.open(reader, LONG));
    },
  });
  await answered(gate.open(SHORT));
  await gate.expect("exit");
  await crossing?.rest();
  expect(crossing?.reset).toMatchObject({ delivered: false });
  expect([ECONNREFUSED, 104]).toContain(crossing?.reset?.errno ?? 0);
});

describe("an app that asks for its calls", () => {
  /** A gate whose app says what it hears, in its log. It has asked for its first call. */
  async function asking() {
    const port = freePort();
    const program = `await Bun.connect({ hostname: "127.0.0.1", port: ${port}, socket: { data: (_, bytes) => console.log(String(bytes)) } })`;
    const { gate, connections } = await serving([process.execPath, "-e", program], port);
    await gate.until(() => connections.length === 1);
    gate.conversation.endCall();
    return { gate, connections };
  }

  test("is ended when a call is past its limit", async () => {
    const { gate } = await asking();
    await using _gate = gate;
    gate.conversation.beginCall(SHORT);
    expect(await gate.expect("exit")).toMatchObject({ signal: 9 });
    expect(gate.frames.map(({ type }) => type)).toContain("expired");
  });

  test("goes on if the call has ended in time, and gets no call that comes late: the gate ends", async () => {
    const { gate, connections } = await asking();
    await using _gate = gate;
    gate.conversation.beginCall(SHORT);
    gate.conversation.endCall();
    await Bun.sleep(2 * SHORT.mostMs);
    gate.conversation.beginCall(LONG);
    connections[0]?.write("in time");
    await gate.until(() => gate.logs.includes("in time"));
    gate.conversation.endCall();
    gate.conversation.beginCall(LATE);
    connections[0]?.write("late");
    expect(await gate.exited).toBe(1);
    expect(gate.logs).not.toContain("late");
    expect(gate.frames.map(({ type }) => type)).not.toContain("expired");
  });
});

test.each([
  ["an OPEN without limits", rawFrame(0x06, Buffer.of(0, 0, 0, 2))],
  ["a CALL of an app that listens", rawFrame(0x0c, Buffer.alloc(9, 1))],
  ["a CALL of no known kind", rawFrame(0x0c, Buffer.of(2))],
  ["a CALL without limits", rawFrame(0x0c, Buffer.of(1))],
])("%s is answered with FAILED", async (_what, bytes) => {
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  await using gate = await BootGate.booted(["sleep", "1000"], listener.port);
  gate.send(bytes);
  expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeFrame, CREDIT_FROM_APP, CREDIT_TO_APP } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { app, BootGate } from "./boot-gate.ts";
import { freePort } from "../../support/ports/free-port.ts";

let echo: BootGate;

beforeAll(async () => {
  const port = freePort();
  echo = await BootGate.booted(app("echo", port), port);
});
afterAll(() => echo[Symbol.asyncDispose]());

test("a stream carries bytes both ways, and its place is free when it is closed", async () => {
  for (let round = 0; round < 3; round++) {
    const stream = echo.open();
    expect(stream.write("hello")).toBe(true);
    await stream.until(({ text }) => text === "hello");
    stream.write(" again");
    await stream.until(({ text }) => text === "hello again");
    stream.stream.close();
  }
  await echo.until(() => echo.conversation.heldStreams === 0);
});

test("64 streams at once each get their own bytes, and a 65th is refused here", async () => {
  const streams = Array.from({ length: 64 }, () => echo.open());
  expect(() => echo.open()).toThrow("64 streams are open already");
  const bodies = streams.map((_, index) => Buffer.alloc(150_000, `${index}.`));
  streams.forEach((stream, index) => stream.write(bodies[index] ?? ""));
  for (const [index, stream] of streams.entries()) {
    await stream.until(({ stream: { received } }) => received === 150_000);
    expect(stream.bytes.equals(bodies[index] ?? Buffer.alloc(0))).toBe(true);
  }
  for (const { stream } of streams) stream.close();
  const after = echo.open();
  after.write("still there");
  await after.until(({ text }) => text === "still there");
  after.stream.close();
});

test("a stream that nobody reads holds neither the others nor the gate up", async () => {
  const stuck = echo.open();
  stuck.reads = false;
  stuck.write(new Uint8Array(40 << 20));
  await stuck.until(({ stream: { received } }) => received === CREDIT_FROM_APP);
  const other = echo.open();
  other.write("quick");
  await other.until(({ text }) => text === "quick");
  expect(stuck.stream.received).toBe(CREDIT_FROM_APP);
  // It goes on where it was.
  stuck.reads = true;
  stuck.stream.consumed(CREDIT_FROM_APP);
  await stuck.until(({ stream: { received } }) => received === 40 << 20);
  stuck.stream.close();
  other.stream.close();
});

test("an app that reads nothing gets no more than the windows hold, and holds nobody else up", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("deaf", port), port);
  const stuck = gate.open();
  const all = 64 << 20;
  expect(stuck.write(new Uint8Array(all))).toBe(false);
  // The connections of others go on, and so do the gate's ends of streams.
  for (let round = 0; round < 3; round++) {
    const other = gate.open();
    expect(other.write("x")).toBe(true);
    other.stream.close();
    await gate.until(() => gate.conversation.heldStreams === 1);
  }
  expect(stuck.stream.sent).toBeGreaterThanOrEqual(CREDIT_TO_APP);
  expect(stuck.stream.sent).toBeLessThan(all);
  stuck.stream.close();
  await gate.until(() => gate.conversation.heldStreams === 0);
});

test("an app counts what a long upload brings", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("count", port), port);
  const stream = gate.open();
  for (let sent = 0; sent < 10; sent++) {
    const rooms = stream.rooms;
    if (!stream.write(Buffer.alloc(1 << 20))) await stream.until((now) => now.rooms > rooms);
  }
  stream.write("\n");
  await stream.until(({ text }) => text.endsWith("\n"));
  expect(stream.text).toBe(`${(10 << 20) + 1}\n`);
  expect(stream.stream.sent).toBe((10 << 20) + 1);
});

test("the app's end comes after all of its bytes", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("pour", port), port);
  const streams = [1, 2, 3].map(() => gate.open());
  for (const stream of streams) stream.write("3000000");
  for (const stream of streams) expect((await stream.rest()).length).toBe(3_000_000);
  expect(streams.every(({ ended, reset }) => ended && reset === undefined)).toBe(true);
});

test("an answer before the end of the upload arrives, though the app has closed the connection", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("refuse", port), port);
  const stream = gate.open();
  stream.write(new Uint8Array(8 << 20));
  expect(await stream.rest()).toBe("413");
});

test("a reset is told, and whether the app may have got something", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("reset", port), port);
  const stream = gate.open();
  stream.write("x");
  await stream.rest();
  expect(stream).toMatchObject({ ended: false, reset: { delivered: true }, text: "" });
});

test("a connection that is reset before anything was sent has delivered nothing", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("rebuff", port), port);
  const stream = gate.open();
  await stream.rest();
  expect(stream).toMatchObject({ ended: false, reset: { errno: 104, delivered: false } });
});

test("an app that has stopped listening is found out before a byte is delivered", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("withdraw", port), port);
  const first = gate.open();
  first.write("x");
  await first.until(({ text }) => text === "closed");
  const second = gate.open();
  second.write("lost");
  await second.rest();
  expect(second).toMatchObject({ ended: false, reset: { errno: 111, delivered: false } });
});

test("an app that ends says its last words first, and then EXIT comes", async () => {
  const port = freePort();
  await using gate = await BootGate.booted(app("die", port), port);
  const stream = gate.open();
  stream.write("x");
  expect(await stream.rest()).toBe("last words");
  expect(await gate.expect("exit")).toMatchObject({ exitCode: 7, signal: 0, metaBytes: 0, responseBytes: 0 });
  await gate.hangUp();
  expect(await gate.exited).toBe(0);
  expect(gate.problem).toBeUndefined();
});

describe("a connection that is kept", () => {
  async function ask(gate: BootGate, line: string, keep: boolean): Promise<string> {
    const stream = gate.open();
    stream.write(line);
    await stream.until(({ text, reset }) => text.endsWith("\n") || reset !== undefined);
    stream.stream.close(keep);
    return stream.text.trim();
  }

  test("serves streams one after the other, and is closed when none has come for a moment", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("number", port), port);
    // A connection waits for 0.1 s: on a machine that stands still for longer, it is another one.
    const numbers = new Set<string>();
    for (let round = 0; round < 20; round++) numbers.add(await ask(gate, "x\n", true));
    expect(numbers.size).toBeLessThan(20);
    const last = await ask(gate, "x\n", true);
    await gate.until(() => gate.logs.includes(`closed ${last}\n`));
    // Without being kept, each has its own.
    const [one, other] = [await ask(gate, "x\n", false), await ask(gate, "x\n", false)];
    expect(Number(other)).toBeGreaterThan(Number(one));
  });

  test("is not used again if the app has ended its side, before or after", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("number", port), port);
    const number = await ask(gate, "end\n", true);
    await gate.until(() => gate.logs.includes(`ended ${number}\n`));
    expect(await ask(gate, "x\n", true)).not.toBe(number);
  });

  test("is not used again if the app has said more than had come when the server closed its stream", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("number", port), port);
    const first = gate.open();
    first.write("x\n");
    await first.until(({ text }) => text === "1\n");
    // As if the newline were still on its way.
    gate.send(closeFrame(2, 1));
    await first.rest();
    expect(await ask(gate, "x\n", true)).toBe("2");
  });

  test("serves one stream at a time", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("number", port), port);
    await ask(gate, "x\n", true);
    const answers = await Promise.all([ask(gate, "x\n", true), ask(gate, "x\n", true), ask(gate, "x\n", true)]);
    expect(new Set(answers).size).toBe(3);
  });

  test("keeps no other one waiting for an app that serves one after the other", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("single", port), port);
    const first = gate.open();
    first.write("x\n");
    await first.until(({ text }) => text !== "");
    const waiting = gate.open();
    waiting.write("x\n");
    first.stream.close(true);
    // Without an end, the kept connection would never be free for a moment.
    while (waiting.text === "") {
      const next = gate.open();
      next.write("x\n");
      await Promise.race([next.until(({ text }) => text !== ""), waiting.until(({ text }) => text !== "")]);
      next.stream.close(true);
    }
    waiting.stream.close();
  });
});

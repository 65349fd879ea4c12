import { describe, expect, test } from "bun:test";
import { eventually } from "../../support/pace.ts";
import { rawFrame } from "../support/gate-frames.ts";
import { scratch, sh, witness } from "../support/gate-process.ts";
import { app, BootGate, standsStill } from "./boot-gate.ts";
import { freePort } from "../../support/ports/free-port.ts";

describe("booting", () => {
  test("BOOTED says how long it took, where the app listens, and how many streams there may be", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port, "0.0.0.0"), port);
    const booted = await gate.expect("booted");
    expect(booted).toMatchObject({ address: "0.0.0.0", port });
    expect(booted.bootUs).toBeGreaterThan(1_000);
    expect(booted.streams).toBeGreaterThanOrEqual(4);
  });

  test.each(["127.0.0.1", "127.0.0.9", "0.0.0.0", "::", "::1"])(
    "an app on %s alone can be reached",
    async (address) => {
      const port = freePort();
      await using gate = await BootGate.booted(app("echo", port, address), port);
      expect(await gate.expect("booted")).toMatchObject({ address });
      const stream = gate.open();
      stream.write("x");
      await stream.until(({ text, reset }) => text === "x" || reset !== undefined);
      expect(stream.text).toBe("x");
    },
  );

  test("all ports must listen, and streams go to the first", async () => {
    const [first, second] = [freePort(), freePort()];
    const other = freePort();
    const script = `"$@" echo ${first} & "$@" print ${second} & exec "$@" echo ${other}`;
    const command = [...sh(script), "sh", ...app("", 0).slice(0, 2)];
    await using gate = await BootGate.booted(command, first, { ports: [first, second] });
    const stream = gate.open();
    stream.write("first");
    await stream.until(({ text }) => text === "first");
  });

  test("an app that does not listen in time is killed with all that it started, after its output", async () => {
    await using own = await scratch();
    const { path, up, gone } = await witness(own.path);
    const script = `exec 9>${path}; echo up >&9; echo waiting for the database; sleep 1000 & sleep 1000`;
    await using gate = await BootGate.boot(sh(script), freePort(), { bootTimeoutMs: 1_000 });
    await up;
    await gate.expect("not_listening");
    await gone;
    expect(gate.logs).toBe("waiting for the database\n");
    expect(gate.frames.map(({ type }) => type)).toEqual(["ready", "log", "not_listening"]);
    expect(await gate.exited).toBe(0);
  });

  test("an app that ends before it listens is an EXIT without BOOTED, after its output", async () => {
    await using gate = await BootGate.boot(sh("echo no DATABASE_URL >&2; exit 3"), freePort());
    expect(await gate.expect("exit")).toMatchObject({ exitCode: 3, signal: 0 });
    expect(gate.frames.map(({ type }) => type)).toEqual(["ready", "log", "exit"]);
    expect(gate.logs).toBe("no DATABASE_URL\n");
  });

  test("a command that cannot be executed is FAILED", async () => {
    await using gate = await BootGate.boot(["/nowhere"], freePort());
    expect(await gate.expect("failed")).toMatchObject({ stage: "exec", errno: 2 });
  });

  test("a master whose worker listens is booted, and FINISH ends both", async () => {
    const port = freePort();
    await using own = await scratch();
    const { path, up, gone } = await witness(own.path);
    const command = sh(`exec 9>${path}; echo up >&9; exec "$@"`);
    await using gate = await BootGate.booted([...command, "sh", ...app("echo", port, "127.0.0.1", "--master")], port);
    await up;
    const stream = gate.open();
    stream.write("x");
    await stream.until(({ text }) => text === "x");
    gate.conversation.finish(10_000);
    expect(await gate.expect("exit")).toMatchObject({ signal: 15 });
    await gone;
  });

  test("a daemon whose parent ends is an app that has ended", async () => {
    await using gate = await BootGate.boot(sh("sleep 100 & exit 0"), freePort());
    expect(await gate.expect("exit")).toMatchObject({ exitCode: 0 });
  });

  test("variables reach the app, and neither those of a call nor the gate's descriptors do", async () => {
    const script = 'echo "$A/$REQUEST_ID/$CONTEXT_PATH"; exec ls -l /proc/self/fd';
    await using gate = await BootGate.boot(sh(script), freePort(), { environment: { A: "b" } });
    await gate.expect("exit");
    const [variables, , ...descriptors] = gate.logs.trim().split("\n");
    expect(variables).toBe("b//");
    // The last one is the directory that ls reads.
    expect(descriptors.map((line) => / (\d+) -> /.exec(line)?.[1])).toEqual(["0", "1", "2", "3"]);
    expect(descriptors[3]).toContain("/fd");
  });
});

describe("FINISH", () => {
  test("sends SIGTERM, and what the app says then comes before EXIT", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port, "127.0.0.1", "--gentle"), port);
    gate.conversation.finish(10_000);
    expect(await gate.expect("exit")).toMatchObject({ exitCode: 0, signal: 0 });
    expect(gate.logs).toContain("bye\n");
    expect(await gate.exited).toBe(0);
  });

  test("kills an app that ignores SIGTERM, frozen or not", async () => {
    for (const freeze of [false, true]) {
      const port = freePort();
      await using gate = await BootGate.booted(app("echo", port, "127.0.0.1", "--stubborn"), port, { freeze });
      // Enough for an app on a busy machine to hear the first signal.
      gate.conversation.finish(1_000);
      expect(await gate.expect("exit")).toMatchObject({ signal: 9 });
      expect(gate.logs).toContain("no\n");
    }
  });

  test("kills at once if there is no time", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port, "127.0.0.1", "--stubborn"), port);
    gate.conversation.finish(0);
    expect(await gate.expect("exit")).toMatchObject({ signal: 9 });
  });

  test("while it boots ends it as well", async () => {
    await using gate = await BootGate.boot(sh("echo up; sleep 100"), freePort());
    await gate.expect("log");
    gate.conversation.finish(10_000);
    expect(await gate.expect("exit")).toMatchObject({ signal: 15 });
  });

  test("lets a stream that is open go on until the app ends", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port, "127.0.0.1", "--stubborn"), port);
    const stream = gate.open();
    stream.write("x");
    await stream.until(({ text }) => text === "x");
    gate.conversation.finish(60_000);
    await gate.until(() => gate.logs.includes("no"));
    stream.write("y");
    await stream.until(({ text }) => text === "xy");
    await gate.hangUp();
    await stream.rest();
    expect(stream.reset).toEqual({ errno: 104, delivered: true });
  });
});

test("the end of stdin kills the app, and what it has started", async () => {
  const port = freePort();
  await using own = await scratch();
  const { path, up, gone } = await witness(own.path);
  const command = [...sh(`exec 9>${path}; echo up >&9; sleep 1000 & exec "$@"`), "sh", ...app("echo", port)];
  const gate = await BootGate.booted(command, port, { freeze: true });
  await up;
  await gate.hangUp();
  await gone;
  expect(await gate.exited).toBe(1);
});

describe("what an app prints when its answer is out", () => {
  test.each([false, true])(
    "comes before the SIGTERM of a FINISH that follows at once, frozen (%p) or not",
    async (freeze) => {
      const port = freePort();
      await using gate = await BootGate.booted(app("afterword", port), port, { freeze });
      const stream = gate.open();
      stream.write("x");
      expect(await stream.rest()).toBe("answer");
      stream.stream.close();
      gate.conversation.finish(10_000);
      expect(await gate.expect("exit")).toMatchObject({ signal: 15 });
      expect(gate.logs).toEndWith("afterword\n");
    },
  );

  test("comes before it is frozen again", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("afterword", port), port, { freeze: true });
    const lines = () => gate.logs.split("afterword\n").length - 1;
    const call = async (count: number) => {
      const stream = gate.open();
      stream.write("x");
      await stream.rest();
      stream.stream.close();
      await gate.until(() => lines() === count);
    };
    // At first it is not calm, and later it is.
    for (let count = 1; count < 8; count++) {
      await call(count);
      await Bun.sleep(100);
    }
  });
});

describe("an instance that freezes", () => {
  test("does nothing while no stream is open, and goes on with the next", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("tick", port), port, { freeze: true });
    expect(await eventually(() => standsStill(gate))).toBe(true);
  });

  test("is not stopped while it is still starting, though it listens", async () => {
    const port = freePort();
    const busy = 'const until = Date.now() + 1000; while (Date.now() < until); console.log("loaded")';
    const program = `Bun.listen({ hostname: "127.0.0.1", port: ${port}, socket: { data() {} } }); ${busy}; setInterval(() => 0, 1e6)`;
    await using gate = await BootGate.booted([process.execPath, "-e", program], port, { freeze: true });
    // No stream is opened, so that only an app that runs gets there.
    await gate.until(() => gate.logs.includes("loaded"));
  });

  test("is stopped, and is running while a stream is open", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("echo", port), port, { freeze: true });
    const state = async () => {
      const child = (await Bun.file(`/proc/${gate.pid}/task/${gate.pid}/children`).text()).trim();
      return /^State:\s+(\w)/m.exec(await Bun.file(`/proc/${child}/status`).text())?.[1];
    };
    while ((await state()) !== "T") await Bun.sleep(1);
    const stream = gate.open();
    stream.write("x");
    await stream.until(({ text }) => text === "x");
    expect(await state()).not.toBe("T");
    stream.stream.close();
    while ((await state()) !== "T") await Bun.sleep(1);
    expect(gate.problem).toBeUndefined();
  });
});

describe("the log", () => {
  test("of a call comes before the end of its stream, and may reach the limit again in the next", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("print", port), port, { logLimit: 8 });
    await gate.until(() => gate.logs === "up\n");
    for (const text of ["0123456789abcdef", "ABCDEFGHIJKLMNOP"]) {
      const stream = gate.open();
      stream.write(text);
      await stream.rest();
      stream.stream.close();
      await gate.until(() => gate.conversation.heldStreams === 0);
    }
    gate.conversation.finish(0);
    const { logDroppedBytes } = await gate.expect("exit");
    // Half as much as the limit is kept of what is beyond it.
    expect(gate.logs).toBe("up\n01234567cdefABCDEFGHMNOP");
    expect(logDroppedBytes).toBe(16);
  });

  test("that floods keeps neither streams nor the end waiting", async () => {
    const port = freePort();
    const command = [...sh(`yes & exec "$@"`), "sh", ...app("echo", port)];
    await using gate = await BootGate.booted(command, port, { logLimit: 1 << 20 });
    const stream = gate.open();
    stream.write(Buffer.alloc(1 << 20));
    await stream.until(({ stream: { received } }) => received === 1 << 20);
    stream.stream.close();
    gate.conversation.finish(0);
    await gate.expect("exit");
    expect(gate.problem).toBeUndefined();
  });
});

describe("the server's frames", () => {
  const number = Buffer.of(0, 0, 0, 2);
  const limits = Buffer.alloc(8);
  const open = rawFrame(0x06, Buffer.concat([number, limits]));
  test.each([
    ["an OPEN of the gate's numbers", rawFrame(0x06, Buffer.concat([Buffer.of(0, 0, 0, 1), limits]))],
    ["an OPEN of no number", rawFrame(0x06, Buffer.alloc(12))],
    ["an OPEN of a stream that is open", Buffer.concat([open, open])],
    [
      "more streams than allowed",
      Buffer.concat(
        Array.from({ length: 65 }, (_, i) => rawFrame(0x06, Buffer.concat([Buffer.of(0, 0, 0, 2 * i + 2), limits]))),
      ),
    ],
    ["a DATA without a byte", Buffer.concat([open, rawFrame(0x07, number)])],
    ["a CLOSE of one direction", Buffer.concat([open, rawFrame(0x09, Buffer.of(0, 0, 0, 2, 1, 0, 0, 0, 0))])],
    ["a CLOSE of no known kind", Buffer.concat([open, rawFrame(0x09, Buffer.of(0, 0, 0, 2, 3, 0, 0, 0, 0))])],
    ["a CREDIT for nothing that was sent", Buffer.concat([open, rawFrame(0x08, Buffer.of(0, 0, 0, 2, 0, 0, 0, 1))])],
    ["a short FINISH", rawFrame(0x0a, Buffer.of(0))],
    ["a second BOOT", rawFrame(0x05, Buffer.alloc(16, 1))],
    ["a BODY", rawFrame(0x02, Buffer.of(0))],
    ["a REQUEST", rawFrame(0x01, Buffer.alloc(40))],
    ["an unknown type", rawFrame(0x7f, Buffer.alloc(8))],
    ["a frame over the limit", Buffer.of(0x07, 0, 1, 0, 1)],
  ])("%s is answered with FAILED", async (_what, bytes) => {
    const port = freePort();
    // It needs no app: anything that listens will do, and this test does.
    using listener = Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => undefined } });
    await using gate = await BootGate.booted(["sleep", "1000"], listener.port);
    gate.send(bytes);
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
    expect(gate.problem).toBeUndefined();
  });

  test("more DATA than there is credit for is answered with FAILED", async () => {
    const port = freePort();
    await using gate = await BootGate.booted(app("deaf", port), port);
    const piece = rawFrame(0x07, Buffer.concat([number, Buffer.alloc(60_000)]));
    gate.send(Buffer.concat([open, piece, piece]));
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
  });

  test.each([
    ["without a port", Buffer.alloc(14)],
    ["with a port of 0", Buffer.concat([Buffer.alloc(13), Buffer.of(1, 0, 0)])],
    ["with more ports than it says", Buffer.concat([Buffer.alloc(13), Buffer.of(1, 0, 80, 0, 81)])],
    ["with an unknown flag", Buffer.concat([Buffer.of(128), Buffer.alloc(12), Buffer.of(1, 0, 80)])],
  ])("a BOOT %s is answered with FAILED", async (_what, payload) => {
    await using gate = new BootGate(["true"]);
    await gate.expect("ready");
    gate.boot({ ports: [1] });
    gate.conversation.take(); // and does not send it
    gate.send(rawFrame(0x05, payload));
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
  });

  test("frames of a stream that has ended are ignored", async () => {
    const port = freePort();
    using listener = Bun.listen({
      hostname: "127.0.0.1",
      port,
      socket: { open: (s) => void s.end(), data: () => undefined },
    });
    await using gate = await BootGate.booted(["sleep", "1000"], listener.port);
    const late = [rawFrame(0x07, Buffer.of(0, 0, 0, 8, 1)), rawFrame(0x08, Buffer.of(0, 0, 0, 8, 0, 0, 0, 1))];
    gate.send(Buffer.concat([...late, rawFrame(0x09, Buffer.of(0, 0, 0, 8, 2, 0, 0, 0, 0))]));
    const stream = gate.open();
    await stream.rest();
    expect(stream.ended).toBe(true);
  });

  test("a file of a context is answered with FAILED: an instance has none", async () => {
    await using gate = await BootGate.boot(["true"], 1, {
      files: [{ place: "context", name: "x", bytes: Buffer.from("x") }],
    });
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
  });
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { open } from "node:fs/promises";
import { constants } from "node:os";
import fc from "fast-check";
import { encodeRequest, extraFrames, PAYLOAD_BYTES } from "../../lib/runner/gate-protocol/frames.ts";
import { rawFrame } from "./support/gate-frames.ts";
import { callGate, GateProcess, outcome, requestIn, scratch, sh, type Scratch } from "./support/gate-process.ts";

const { EPROTO, EEXIST, E2BIG } = constants.errno;

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

const fresh = () => ({ id: crypto.randomUUID() });
const inContext = (name: string, bytes: Uint8Array | string) =>
  ({ place: "context", name, bytes: Buffer.from(bytes) }) as const;

/** The variables in the output of `env -0`. */
function variablesIn(stdout: string): Map<string, string> {
  return new Map(
    stdout
      .split("\0")
      .slice(0, -1)
      .map((line): [string, string] => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

describe("variables of a call", () => {
  test("override those of the container, byte for byte", async () => {
    const environment = { OWN: "new", EMPTY: "", LINES: "a\nb=c\n", WIDE: "é€", LONG: "x".repeat(65_000) };
    const call = await callGate(root.path, ["env", "-0"], { ...fresh(), env: { OWN: "old", KEPT: "1" }, environment });
    expect(variablesIn(call.stdout)).toEqual(
      new Map(Object.entries({ ...environment, KEPT: "1" }))
        .set("PATH", process.env["PATH"] ?? "")
        .set("REQUEST_ID", expect.anything())
        .set("CONTEXT_PATH", expect.anything()),
    );
    expect(call.stdout.split("\0").filter((line) => line.startsWith("OWN="))).toEqual(["OWN=new"]);
  });

  test("appear once if the call has them twice", async () => {
    await using gate = new GateProcess(["env", "-0"], { env: { A: "1" } });
    await gate.expect("ready");
    gate.conversation.call(requestIn(root.path, fresh()), Buffer.alloc(0));
    const frames = [
      ...extraFrames({ environment: { A: "2" }, files: [] }),
      ...extraFrames({ environment: { A: "3" }, files: [] }),
    ];
    await gate.send(request({ extraFrames: 2 }), ...frames);
    expect((await outcome(gate)).stdout.split("\0").filter((line) => line.startsWith("A="))).toEqual(["A=3"]);
  });

  test("do not override REQUEST_ID and CONTEXT_PATH", async () => {
    const { id } = fresh();
    const environment = { REQUEST_ID: "forged", CONTEXT_PATH: "/forged" };
    const seen = variablesIn((await callGate(root.path, ["env", "-0"], { id, environment })).stdout);
    expect([seen.get("REQUEST_ID"), seen.get("CONTEXT_PATH")]).toEqual([id, `${root.path}/${id}`]);
  });

  test("include the PATH that the command is looked up in", async () => {
    await Bun.write(`${root.path}/programs/only-here`, "#!/bin/sh\necho found\n");
    await Bun.$`chmod +x ${root.path}/programs/only-here`;
    const call = await callGate(root.path, ["only-here"], {
      ...fresh(),
      environment: { PATH: `${root.path}/programs` },
    });
    expect(call.stdout).toBe("found\n");
  });

  test("are gone in the next call", async () => {
    await using gate = new GateProcess(sh("echo $A-$B"));
    await gate.expect("ready");
    for (const [environment, stdout] of [
      [{ A: "1" }, "1-\n"],
      [{ B: "2" }, "-2\n"],
      [{}, "-\n"],
    ] as const) {
      expect((await gate.serve(root.path, { environment })).stdout).toBe(stdout);
      await gate.expect("ready");
    }
  });

  test("are nowhere in the gate's memory, neither while the function runs nor later", async () => {
    const value = `hunter2-${crypto.randomUUID()}`;
    const files = [inContext("secret", `${value}-in-a-file`)];
    await using gate = new GateProcess(sh("echo up; sleep 0.2"));
    await gate.expect("ready");
    await gate.call(root.path, { ...fresh(), again: true, environment: { A: value }, files, body: "x".repeat(70_000) });
    await gate.expect("log");
    expect(await memoryOf(gate.pid)).not.toContain(value);
    await gate.expect("exit");
    await gate.expect("response");
    await gate.expect("ready");
    expect(await memoryOf(gate.pid)).not.toContain(value);
    // The search works: it finds the context's root, which is not a secret.
    expect(await memoryOf(gate.pid)).toContain(root.path);
  });

  test("that are defaults are nowhere in the gate's memory while the function runs", async () => {
    const value = `hunter3-${crypto.randomUUID()}`;
    await using gate = new GateProcess(sh("echo up; sleep 0.2"));
    await gate.expect("ready");
    await gate.call(root.path, { ...fresh(), defaults: { A: value } });
    await gate.expect("log");
    expect(await memoryOf(gate.pid)).not.toContain(value);
  });

  test("that are too large for a process are answered as the kernel would", async () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${index}`, "x".repeat(60_000)]));
    expect((await callGate(root.path, ["true"], { ...fresh(), environment: many(17) })).exit).toMatchObject({
      exitCode: 0,
    });
    const call = await callGate(root.path, ["true"], { ...fresh(), environment: many(18) });
    expect(call.failed).toEqual({ type: "failed", stage: "exec", errno: E2BIG });
  });
});

describe("files of a call", () => {
  test("are in the context before the function starts, for anyone to read and write", async () => {
    const long = crypto.getRandomValues(Buffer.alloc(60_000));
    const bytes = Buffer.concat([long, long, long, long]);
    const files = [inContext("request.meta.json", "{}"), inContext("long", bytes), inContext("empty", "")];
    const script = 'cd "$CONTEXT_PATH"; stat -c "%n %a %s" *; cp long response.json';
    const call = await callGate(root.path, sh(script), { ...fresh(), files, body: "[]" });
    const listed = [
      "empty 666 0",
      "long 666 240000",
      "request.json 666 2",
      "request.meta.json 666 2",
      "response.json 666 2",
    ];
    expect(call.stdout.trim().split("\n").toSorted()).toEqual(listed);
    expect(bytes.equals(call.response)).toBe(true);
  });

  test("are gone in the next call", async () => {
    await using here = await scratch();
    await using gate = new GateProcess(sh('ls -A "$CONTEXT_PATH"'));
    await gate.expect("ready");
    const body = "x";
    const first = await gate.serve(here.path, { ...fresh(), body, bodyFile: true, files: [inContext("extra", "1")] });
    expect(first.stdout.trim().split("\n").toSorted()).toEqual([
      "extra",
      "request.body",
      "request.json",
      "response.json",
    ]);
    await gate.expect("ready");
    const second = await gate.serve(here.path, { ...fresh(), body });
    expect(second.stdout.trim().split("\n").toSorted()).toEqual(["request.json", "response.json"]);
  });
});

test.each([
  ["a short body", "\0\r\n\u{ff}"],
  ["a long body", "x".repeat(3 * PAYLOAD_BYTES)],
])("gate writes %s to request.body too, without using more memory", async (_, body) => {
  const script = 'cd "$CONTEXT_PATH"; stat -c %i request.json request.body; cp request.body response.json';
  const call = await callGate(root.path, sh(script), { ...fresh(), body, bodyFile: true });
  expect(Buffer.from(call.response).toString()).toBe(body);
  expect(new Set(call.stdout.trim().split("\n")).size).toBe(1);
});

test("gate writes an empty body as an empty request.body, besides the {} in request.json", async () => {
  const script = 'cd "$CONTEXT_PATH"; stat -c "%s %a" request.body; cat request.json';
  expect((await callGate(root.path, sh(script), { ...fresh(), bodyFile: true })).stdout).toBe("0 666\n{}");
});

const env = (name: string, value = "v") => rawFrame(0x03, Buffer.concat([text(name), Buffer.from(value)]));
const file = (place: number, name: string, bytes = "b") =>
  rawFrame(0x04, Buffer.concat([Buffer.of(place), text(name), Buffer.from(bytes)]));
const body = (bytes: string) => rawFrame(0x02, Buffer.from(bytes));

function text(value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(Buffer.byteLength(value));
  return Buffer.concat([length, Buffer.from(value)]);
}

function request(changes: { extraFrames: number; bodyLength?: number; timeoutMs?: number }): Uint8Array {
  return encodeRequest({ bodyLength: 0, ...requestIn(root.path, fresh()), ...changes });
}

test.each<[string, number, Buffer[], number]>([
  ["a variable without a name", 1, [env("")], EPROTO],
  ["a variable whose name has an equals sign", 1, [env("a=b")], EPROTO],
  ["a variable whose name has a NUL", 1, [env("a\0")], EPROTO],
  ["a variable whose value has a NUL", 1, [env("a", "\0")], EPROTO],
  ["a variable cut short", 1, [rawFrame(0x03, Buffer.of(0))], EPROTO],
  ["a variable whose name is longer than itself", 1, [rawFrame(0x03, Buffer.of(0, 9, 65))], EPROTO],
  ["an empty variable", 1, [rawFrame(0x03, Buffer.alloc(0))], EPROTO],
  ["a file without a name", 1, [file(1, "")], EPROTO],
  ["a file in no place", 1, [file(0, "a")], EPROTO],
  ["a file in a third place", 1, [file(3, "a")], EPROTO],
  ["a file named .", 1, [file(1, ".")], EPROTO],
  ["a file named ..", 1, [file(1, "..")], EPROTO],
  ["a secret named ..", 1, [file(2, "..")], EPROTO],
  ["a file that leaves the context", 1, [file(1, "../a")], EPROTO],
  ["a secret that leaves its directory", 1, [file(2, "a/b")], EPROTO],
  ["a file with a NUL in its name", 1, [file(1, "a\0b")], EPROTO],
  ["a file with a name that is too long", 1, [file(1, "x".repeat(256))], EPROTO],
  ["a file cut short", 1, [rawFrame(0x04, Buffer.of(1, 0))], EPROTO],
  ["a file whose name is longer than itself", 1, [rawFrame(0x04, Buffer.of(1, 0, 9, 65))], EPROTO],
  ["a file named request.json", 1, [file(1, "request.json")], EEXIST],
  ["a file named response.json", 1, [file(1, "response.json")], EEXIST],
  ["a file that comes again after another", 3, [file(1, "a"), file(1, "b"), file(1, "a")], EEXIST],
  ["a body before the frames that were announced", 1, [body("x")], EPROTO],
  ["more frames than were announced", 1, [env("A"), env("B")], EPROTO],
  ["a frame that was not announced", 0, [env("A")], EPROTO],
  ["a second request in place of a frame", 1, [rawFrame(0x01, Buffer.alloc(40))], EPROTO],
])("gate answers FAILED frames to %s", async (_, extras, frames, errno) => {
  await using gate = new GateProcess(sh("sleep 60"));
  await gate.expect("ready");
  gate.conversation.call(requestIn(root.path), Buffer.alloc(0));
  await gate.send(Buffer.concat([request({ extraFrames: extras, bodyLength: 1 }), ...frames]));
  expect(await gate.next()).toEqual({ type: "failed", stage: "frames", errno });
});

test("gate starts the function when everything has arrived, however it is split", async () => {
  await using gate = new GateProcess(sh('printf "$A"; cat "$CONTEXT_PATH/f"; cat "$CONTEXT_PATH/request.json"'));
  await gate.expect("ready");
  gate.conversation.call(requestIn(root.path), Buffer.alloc(0));
  const whole = [
    request({ extraFrames: 3, bodyLength: 2 }),
    env("A", "1"),
    file(1, "f", "2"),
    file(1, "f", "3"),
    body("45"),
  ];
  for (const byte of Buffer.concat(whole)) await gate.send(Buffer.of(byte));
  expect((await outcome(gate)).stdout).toBe("12345");
});

test("gate ends a call whose files do not arrive in time", async () => {
  await using gate = new GateProcess(["true"]);
  await gate.expect("ready");
  gate.conversation.call(requestIn(root.path), Buffer.alloc(0));
  await gate.send(request({ extraFrames: 2, timeoutMs: 50 }), env("A"));
  await gate.expect("expired");
  expect(await gate.next()).toMatchObject({ type: "exit", signal: 9 });
});

test("gate answers FAILED to any invalid variables and files, or runs the function", async () => {
  const name = fc.oneof(fc.string({ maxLength: 4 }), fc.constantFrom("A", "request.json", "..", "a/b"));
  const frame = fc.oneof(
    fc.tuple(name, fc.string({ maxLength: 4 })).map((given) => env(...given)),
    fc.tuple(fc.integer({ min: 0, max: 3 }), name, fc.string({ maxLength: 4 })).map((given) => file(...given)),
    fc.tuple(fc.constantFrom(3, 4), fc.uint8Array({ maxLength: 12 })).map((raw) => rawFrame(...raw)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 6 }), fc.integer({ min: -1, max: 1 }), async (frames, off) => {
      await using gate = new GateProcess(["true"]);
      await gate.expect("ready");
      gate.conversation.call(requestIn(root.path), Buffer.alloc(0));
      const count = Math.max(0, frames.length + off);
      await gate.send(Buffer.concat([request({ extraFrames: count }), ...frames])).catch(ignoreBrokenPipe);
      await gate.hangUp();
      const said = await gate.next();
      if (said) expect(said.type).toBeOneOf(["failed", "exit"]);
      expect(await gate.exited).toBeOneOf([0, 1]);
    }),
    { numRuns: 100 },
  );
});

/** The gate may have refused and exited before everything was written. */
function ignoreBrokenPipe(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
}

/** Returns all writable memory of a process as text; characters beyond ASCII do not matter here. */
async function memoryOf(pid: number): Promise<string> {
  const maps = await Bun.file(`/proc/${pid}/maps`).text();
  const memory = await open(`/proc/${pid}/mem`);
  let found = "";
  try {
    for (const [, from = "", to = ""] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm)) {
      const start = Number.parseInt(from, 16);
      const bytes = Buffer.alloc(Number.parseInt(to, 16) - start);
      const { bytesRead } = await memory.read(bytes, 0, bytes.length, start);
      found += bytes.toString("latin1", 0, bytesRead);
    }
  } finally {
    await memory.close();
  }
  return found;
}

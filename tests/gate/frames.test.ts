import { afterAll, beforeAll, expect, test } from "bun:test";
import { constants } from "node:os";
import fc from "fast-check";
import { encodeRequest } from "../../lib/runner/gate-protocol/frames.ts";
import { rawFrame } from "./support/gate-frames.ts";
import { GateProcess, requestIn, scratch, sh, witness, type Scratch } from "./support/gate-process.ts";

const { EPROTO, EMSGSIZE } = constants.errno;

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
});
afterAll(() => root[Symbol.asyncDispose]());

/** Waits for READY and sends `bytes`. The conversation has to expect an answer, or it would refuse FAILED. */
async function tell(gate: GateProcess, bytes: Uint8Array): Promise<void> {
  await gate.expect("ready");
  gate.conversation.call(requestIn(root.path), Buffer.alloc(0));
  await gate.send(bytes);
}

function request(changes: { id?: string; contextRoot?: string; bodyLength?: number } = {}): Uint8Array {
  return encodeRequest({
    bodyLength: 0,
    extraFrames: 0,
    ...requestIn(changes.contextRoot ?? root.path, { id: crypto.randomUUID(), ...changes }),
    ...changes,
  });
}

const body = (text: string) => rawFrame(0x02, Buffer.from(text));
const withBody = (bodyLength: number, ...frames: Uint8Array[]) => Buffer.concat([request({ bodyLength }), ...frames]);
const payload = (frame: Uint8Array) => Buffer.from(frame.subarray(5));

test.each([
  ["a frame of an unknown type", () => rawFrame(0x00, Buffer.alloc(0)), EPROTO],
  ["a frame of the gate's own", () => rawFrame(0x81, Buffer.of(1)), EPROTO],
  ["a frame over the limit", () => Buffer.of(0x02, 0, 1, 0, 1), EMSGSIZE],
  ["a frame of four gigabytes", () => Buffer.of(0x01, 255, 255, 255, 255), EMSGSIZE],
  ["a body without a request", () => body("{}"), EPROTO],
  ["an empty request", () => rawFrame(0x01, Buffer.alloc(0)), EPROTO],
  ["a request of zeros", () => rawFrame(0x01, Buffer.alloc(33)), EPROTO],
  ["a request with an unknown flag", () => rawFrame(0x01, payload(request()).fill(4, 24, 25)), EPROTO],
  ["a request cut short", () => rawFrame(0x01, payload(request()).subarray(0, -1)), EPROTO],
  ["a request with a byte too many", () => rawFrame(0x01, Buffer.concat([payload(request()), Buffer.of(0)])), EPROTO],
  ["a request whose root is longer than itself", () => rawFrame(0x01, Buffer.alloc(60, 255)), EPROTO],
  ["a relative root", () => request({ contextRoot: "tmp" }), EPROTO],
  ["a root with a NUL", () => request({ contextRoot: "/tmp\0" }), EPROTO],
  ["an empty id", () => request({ id: "" }), EPROTO],
  ["an id that leaves the root", () => request({ id: "../x" }), EPROTO],
  ["an id with a NUL", () => request({ id: "a\0b" }), EPROTO],
  ["a path that is too long", () => request({ contextRoot: `/${"x".repeat(4_094)}`, id: "x" }), EPROTO],
  ["a second request", () => withBody(1, request({ bodyLength: 1 })), EPROTO],
  ["an empty piece of a body", () => withBody(1, body("")), EPROTO],
  ["more body than announced", () => withBody(3, body("{"), body("}}}")), EPROTO],
  ["anything after the body", () => withBody(2, body("{}"), Buffer.of(0x02)), EPROTO],
  ["anything after an empty body", () => withBody(0, body("{}")), EPROTO],
])("gate answers FAILED frames to %s", async (_, bytes, errno) => {
  await using gate = new GateProcess(sh("sleep 60"));
  await tell(gate, bytes());
  expect(await gate.next()).toEqual({ type: "failed", stage: "frames", errno });
});

test("gate kills a running function when the server sends nonsense", async () => {
  await using here = await scratch();
  const { path, up, gone } = await witness(here.path);
  await using gate = new GateProcess(sh(`exec 9>${path}; echo up >&9; sleep 60`));
  await tell(gate, request());
  await up;
  await gate.send(Buffer.of(0));
  expect(await gate.next()).toEqual({ type: "failed", stage: "frames", errno: EPROTO });
  await gone;
});

test("gate accepts a path of the maximum length", async () => {
  const contextRoot = root.path + "/.".repeat(2_020 - root.path.length / 2);
  await using gate = new GateProcess(["true"]);
  await gate.expect("ready");
  await gate.call(contextRoot, { id: "x".repeat(4_094 - contextRoot.length) });
  expect(await gate.next()).toMatchObject({ type: "exit", exitCode: 0 });
});

test("gate answers FAILED frames to noise or waits for more, and exits when stdin ends", async () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(fc.integer({ min: 0, max: 3 }), fc.uint8Array({ maxLength: 40 })).map((raw) => rawFrame(...raw)),
    fc.uint8Array({ maxLength: 40 }).map((rest) => Buffer.concat([payload(request()), rest])),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(noise, { maxLength: 4 }), async (pieces) => {
      await using gate = new GateProcess(["true"]);
      await tell(gate, Buffer.concat(pieces)).catch(ignoreBrokenPipe);
      await gate.hangUp();
      const frame = await gate.next();
      if (frame) expect(frame).toMatchObject({ type: "failed", stage: "frames" });
      expect(await gate.exited).toBeOneOf([0, 1]);
    }),
    { numRuns: 60 },
  );
});

/** The gate may have refused and exited before everything was written. */
function ignoreBrokenPipe(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
}

import { beforeEach, describe, expect, test } from "bun:test";
import { Duplex } from "node:stream";
import { AppError } from "../../../lib/domain/errors.ts";
import type { ContainerEnd } from "../../../lib/docker/api/container-ends.ts";
import { ContainerChannel } from "../../../lib/docker/containers/container-channel.ts";
import { settled } from "../../support/fake-clock.ts";

/** Writes from this length on wait until the test says that they are done. */
const LONG = 65_536;

/** An attach stream whose other end is the test. */
class FakeStream extends Duplex {
  readonly written: Buffer[] = [];
  /** Says that a write is done. */
  done: () => void = () => undefined;

  override _read(): void {
    // Nothing to do: the test pushes the bytes.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.written.push(chunk);
    if (chunk.length >= LONG) this.done = done;
    else done();
  }
}

/** Returns the output of a container as the engine wraps it. */
function wrapped(text: string, stream: 0 | 1 | 2 = 1): Buffer {
  const bytes = Buffer.from(text);
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

let stream: FakeStream;
let channel: ContainerChannel;
let end: ContainerEnd;
let problem: AppError | undefined;
/** The events in order: those that the reader got, and those that the channel reported to its launcher. */
let heard: string[];

const reader = {
  onBytes: (bytes: Uint8Array) => heard.push(`bytes ${Buffer.from(bytes).toString()}`),
  onEnd: (why: string) => heard.push(`end: ${why}`),
  onBroken: (why: string) => heard.push(`broken: ${why}`),
};

beforeEach(() => {
  stream = new FakeStream();
  end = { oom: false, died: true, gone: false };
  problem = undefined;
  heard = [];
  const events = {
    containerEnd: () => Promise.resolve(end),
    get problem() {
      return problem;
    },
  };
  channel = new ContainerChannel({
    id: "container",
    command: ["command"],
    stream,
    events,
    accept: () => undefined,
    onClosed: () => heard.push("closed"),
    doubtGate: () => heard.push("gate doubted"),
    gone: () => Promise.resolve(),
  });
});

test("ContainerChannel passes on the bytes of stdout, however the engine's stream is split", async () => {
  channel.read(reader);
  const whole = Buffer.concat([wrapped("ab"), wrapped("warning", 2), wrapped("c")]);
  for (const byte of whole) stream.push(Buffer.of(byte));
  stream.push(Buffer.concat([wrapped("de"), wrapped("f")]));
  await settled();
  expect(heard).toEqual(["bytes a", "bytes b", "bytes c", "bytes de", "bytes f"]);
});

test("ContainerChannel frees what it has written, and not before", async () => {
  const [long, short] = [Buffer.allocUnsafeSlow(LONG), Buffer.from("short")];
  channel.write(long);
  await settled();
  expect(long.buffer.detached).toBe(false);
  stream.done();
  channel.write(short);
  await settled();
  expect([long.buffer.detached, short.toString()]).toEqual([true, "short"]);
});

test("ContainerChannel keeps bytes that come before it is read", async () => {
  stream.push(wrapped("early"));
  await settled();
  channel.read(reader);
  await settled();
  expect(heard).toEqual(["bytes early"]);
});

test("ContainerChannel frees a chunk when its reader has seen it", async () => {
  const kept: string[] = [];
  channel.read({ ...reader, onBytes: (bytes) => kept.push(Buffer.from(bytes).toString()) });
  const text = "x".repeat(65_536);
  const chunk = new Uint8Array(wrapped(text));
  stream.push(chunk);
  await settled();
  expect(kept).toEqual([text]);
  expect(chunk.length).toBe(0);
});

test("ContainerChannel writes to the container's stdin", () => {
  channel.write(Buffer.from("in"));
  expect(stream.written.map(String)).toEqual(["in"]);
});

test.each<[string, Buffer]>([
  ["a stream that does not exist", Buffer.from([9, 0, 0, 0, 0, 0, 0, 1, 65])],
  ["the head of an HTTP answer", Buffer.from("HTTP/1.1 500 Internal Server Error\r\n")],
])("ContainerChannel reports a malformed header: %s", async (_, bytes) => {
  channel.read(reader);
  stream.push(bytes);
  await settled();
  expect(heard).toEqual(["broken: the engine's attach stream has a malformed header"]);
  channel.close();
  expect(heard).toHaveLength(2);
});

describe("ContainerChannel reports an end", () => {
  test.each<[string, () => void]>([
    ["its stream ended", () => stream.push(null)],
    ["its stream was closed", () => stream.destroy()],
    ["cut", () => stream.destroy(new Error("cut"))],
  ])("once: %s", async (why, lose) => {
    channel.read(reader);
    lose();
    await settled();
    await channel.closed;
    expect(heard).toEqual(["closed", `end: ${why}`]);
    expect(stream.destroyed).toBe(true);
  });

  test("that came before the channel was read", async () => {
    stream.destroy(new Error("cut"));
    await settled();
    channel.read(reader);
    expect(heard).toEqual(["closed", "end: cut"]);
  });
});

test("ContainerChannel.close reports nothing to the reader, and drops the rest of the same chunk", async () => {
  channel.read({ ...reader, onBytes: () => channel.close() });
  stream.push(Buffer.concat([wrapped("a"), wrapped("b")]));
  await settled();
  channel.close();
  await channel.closed;
  expect(heard).toEqual(["closed"]);
  expect(stream.destroyed).toBe(true);
});

test("ContainerChannel.reject has the gate checked before the next start", () => {
  channel.reject();
  expect(heard).toEqual(["gate doubted", "closed"]);
});

describe("ContainerChannel.ended explains", () => {
  const AWAY = new AppError("engine_unavailable", "away");

  test.each<[string, Partial<ContainerEnd>, AppError | undefined, "died" | "out_of_memory" | "lost"]>([
    ["a container that was ended", { died: true }, undefined, "died"],
    ["a gate that ran out of memory", { died: true, oom: true }, undefined, "out_of_memory"],
    ["an engine that is away", { died: false }, AWAY, "lost"],
    ["an engine that went after the container", { died: true }, AWAY, "died"],
  ])("%s", async (_, known, engine, how) => {
    end = { ...end, ...known };
    problem = engine;
    expect(await channel.ended()).toEqual(how === "lost" ? { how, problem: AWAY } : { how });
  });
});

import { describe, expect, test } from "bun:test";
import { BootConversation } from "../../../lib/runner/gate-protocol/boot-conversation.ts";
import { CREDIT_FROM_APP, CREDIT_TO_APP } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { PROTOCOL_VERSION, ProtocolError, type GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { encodeGateFrame, exitFrame } from "../../gate/support/gate-frames.ts";
import { Recorder, say, serverFrames } from "./boot-support.ts";

const ready = {
  type: "ready",
  version: PROTOCOL_VERSION,
  uid: 0,
  gid: 0,
  surroundings: "processes",
  why: "",
} as const;
const booted = { type: "booted", bootUs: 1_234, address: "127.0.0.1", port: 8080, streams: 4 } as const;
const exit = exitFrame({ exitCode: 3, logDroppedBytes: 5, bodyFile: true, responseState: "fine" });
const request = { freeze: true, bootTimeoutMs: 60_000, logLimit: 4, ports: [8080, 3000] };
const log = (text: string) => ({ type: "log", stream: "stdout", bytes: Buffer.from(text) }) as const;
const tail = (text: string) => ({ type: "tail", stream: "stdout", age_ms: 0, bytes: Buffer.from(text) }) as const;
const data = (stream: number, bytes: Uint8Array | string) =>
  ({ type: "data", stream, bytes: typeof bytes === "string" ? Buffer.from(bytes) : bytes }) as const;
const credit = (stream: number, more: number) => ({ type: "credit", stream, more }) as const;
const close = (stream: number, ending: "end" | "reset" | "unconnected", errno = 0) =>
  ({ type: "close", stream, ending, errno }) as const;

function serving(): BootConversation {
  const conversation = new BootConversation(() => undefined);
  say(conversation, ready);
  conversation.boot(request);
  say(conversation, booted);
  conversation.take();
  return conversation;
}

test("BootConversation boots, relays a stream and finishes, with the frames of a turn in one buffer", () => {
  let woken = 0;
  const conversation = new BootConversation(() => woken++);
  expect(say(conversation, ready)).toEqual([ready]);
  conversation.boot(request, {
    environment: { A: "b" },
    files: [{ place: "secrets", name: "s", bytes: Buffer.from("x") }],
  });
  expect(woken).toBe(1);
  expect(serverFrames(conversation)).toEqual([
    [0x05, Buffer.from("01 0000ea60 00000004 00000002 02 1f90 0bb8".replaceAll(" ", ""), "hex")],
    [0x03, Buffer.from("\0\x01Ab")],
    [0x04, Buffer.from("\x02\0\x01sx")],
  ]);
  expect(conversation.mostStreams).toBe(0);
  expect(say(conversation, log("hi"), booted)).toEqual([log("hi"), booted]);
  expect(conversation).toMatchObject({ state: "serving", mostStreams: 4, openStreams: 0 });

  const reader = new Recorder();
  const stream = conversation.open(reader);
  expect(stream.write(Buffer.from("GET"))).toBe(true);
  expect(woken).toBe(2);
  expect(serverFrames(conversation)).toEqual([
    [0x06, Buffer.of(0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)],
    [0x07, Buffer.from("\0\0\0\x02GET")],
  ]);
  expect(say(conversation, data(2, "200"), close(2, "end"))).toEqual([]);
  expect(reader.events).toEqual(["200", "end"]);
  expect(stream).toMatchObject({ sent: 3, received: 3 });
  stream.consumed(3);
  stream.close();
  conversation.finish(100);
  expect(serverFrames(conversation)).toEqual([
    [0x09, Buffer.of(0, 0, 0, 2, 2, 0, 0, 0, 0)],
    [0x0a, Buffer.of(0, 0, 0, 100)],
  ]);
  expect(say(conversation, close(2, "reset"), exit)).toEqual([exit]);
  expect(conversation.state).toBe("over");
  expect(reader.events).toEqual(["200", "end"]);
});

describe("a stream", () => {
  test("queues what exceeds the credit, and tells of room when the app has read", () => {
    const conversation = serving();
    const reader = new Recorder();
    const stream = conversation.open(reader);
    expect(stream.write(new Uint8Array(CREDIT_TO_APP - 1))).toBe(true);
    expect(stream.write(new Uint8Array(40_001))).toBe(false);
    expect(stream.sent).toBe(CREDIT_TO_APP);
    say(conversation, credit(2, 30_000));
    expect(stream.sent).toBe(CREDIT_TO_APP + 30_000);
    expect(reader.events).toEqual([]);
    say(conversation, credit(2, 10_001));
    expect(stream.sent).toBe(CREDIT_TO_APP + 40_000);
    expect(reader.events).toEqual(["room"]);
    expect(serverFrames(conversation).every(([, payload]) => payload.length <= 65_536)).toBe(true);
  });

  test("gives the app credit in large steps for what was passed on, and none once it has ended", () => {
    const conversation = serving();
    const stream = conversation.open(new Recorder());
    conversation.take();
    for (let sent = 0; sent < CREDIT_FROM_APP; sent += 65_532)
      say(conversation, data(2, new Uint8Array(Math.min(65_532, CREDIT_FROM_APP - sent))));
    stream.consumed(CREDIT_FROM_APP / 2 - 1);
    expect(conversation.take()).toBeUndefined();
    stream.consumed(1);
    expect(serverFrames(conversation)).toEqual([[0x08, Buffer.of(0, 0, 0, 2, 0, 4, 0, 0)]]);
    expect(() => stream.consumed(CREDIT_FROM_APP / 2 + 1)).toThrow(RangeError);
    say(conversation, close(2, "end"));
    stream.consumed(CREDIT_FROM_APP / 2);
    expect(conversation.take()).toBeUndefined();
  });

  test("has the limits of its call, which stay if it is abandoned", () => {
    const conversation = serving();
    const stream = conversation.open(new Recorder(), { withinMs: 0x102, mostMs: 0x304 });
    stream.abandon();
    stream.close();
    expect(serverFrames(conversation)).toEqual([
      [0x06, Buffer.of(0, 0, 0, 2, 0, 0, 1, 2, 0, 0, 3, 4)],
      [0x09, Buffer.of(0, 0, 0, 2, 5, 0, 0, 0, 0)],
    ]);
  });

  test("that leaves its connection says how much of it has come", () => {
    const conversation = serving();
    const stream = conversation.open(new Recorder());
    say(conversation, data(2, "four"));
    conversation.take();
    stream.close(true);
    expect(serverFrames(conversation)).toEqual([[0x09, Buffer.of(0, 0, 0, 2, 4, 0, 0, 0, 4)]]);
  });

  test("that was closed drops what was on its way, and its place is free at once", () => {
    const conversation = serving();
    const reader = new Recorder();
    const streams = [1, 2, 3, 4].map(() => conversation.open(reader));
    expect(() => conversation.open(reader)).toThrow("4 streams are open already");
    streams[0]?.close();
    streams[0]?.close();
    expect(streams[0]?.write(Buffer.from("x"))).toBe(false);
    expect(conversation.openStreams).toBe(3);
    conversation.open(reader);
    conversation.take();
    say(conversation, data(2, "late"), close(2, "end"), close(2, "reset", 104));
    expect(reader.events).toEqual([]);
    expect(() => say(conversation, data(2, "later"))).toThrow("DATA came for a stream that is not open");
  });

  test.each([
    ["was not connected", close(2, "unconnected", 111), "x", { errno: 111, delivered: false }],
    ["was reset", close(2, "reset", 104), "x", { errno: 104, delivered: true }],
    ["was reset before anything was sent", close(2, "reset", 104), "", { errno: 104, delivered: false }],
    ["lost its app", exit, "x", { errno: 104, delivered: true }],
    ["lost its gate", undefined, "", { errno: 104, delivered: false }],
  ])("that %s says whether the app may have got something", (_what, frame, sent, reset) => {
    const conversation = serving();
    const reader = new Recorder();
    const stream = conversation.open(reader);
    stream.write(Buffer.from(sent));
    if (frame === undefined) conversation.lose();
    else say(conversation, frame);
    expect(reader.events).toEqual([reset]);
    stream.close();
    expect(stream.write(Buffer.from("x"))).toBe(false);
    expect(reader.events).toHaveLength(1);
  });

  test("may be opened by the reader of one that has just ended", () => {
    const conversation = serving();
    const reader = new Recorder();
    for (let i = 0; i < 3; i++) conversation.open(reader);
    conversation.open({ ...ignored, onReset: () => void conversation.open(reader) });
    say(conversation, close(8, "reset"), data(10, "!"));
    expect(reader.events).toEqual(["!"]);
  });
});

const ignored = { onBytes: () => undefined, onRoom: () => undefined, onEnd: () => undefined };

test("a log may reach its limit once for the boot and once for each stream, and its tail half of that", () => {
  const conversation = serving();
  say(conversation, log("1234"), tail("12"));
  conversation.open(new Recorder());
  say(conversation, log("5678"), tail("34"));
  expect(() => say(conversation, log("9"))).toThrow("LOG frames hold more than the limit");
  expect(() => say(conversation, tail("5"))).toThrow("TAIL frames hold more than their limit");
});

test("BOOTED that FINISH has crossed changes nothing", () => {
  const conversation = new BootConversation(() => undefined);
  say(conversation, ready);
  conversation.boot(request);
  conversation.finish(0);
  say(conversation, booted);
  expect(conversation.state).toBe("finishing");
  expect(() => conversation.open(new Recorder())).toThrow("while the gate is finishing");
  expect(() => say(conversation, booted)).toThrow("BOOTED came twice");
});

test("a gate of another version is over", () => {
  const conversation = new BootConversation(() => undefined);
  say(conversation, { type: "ready", version: PROTOCOL_VERSION + 1 });
  expect(conversation.state).toBe("over");
});

const notListening: GateFrame = { type: "not_listening", listeners: [{ address: "::1", port: 80 }] };
const before: readonly [string, () => BootConversation][] = [
  ["starting", () => new BootConversation(() => undefined)],
  [
    "ready",
    () => {
      const conversation = new BootConversation(() => undefined);
      say(conversation, ready);
      return conversation;
    },
  ],
  [
    "booting",
    () => {
      const conversation = new BootConversation(() => undefined);
      say(conversation, ready);
      conversation.boot(request);
      return conversation;
    },
  ],
  ["serving", serving],
  [
    "finishing",
    () => {
      const conversation = serving();
      conversation.finish(0);
      return conversation;
    },
  ],
  [
    "over",
    () => {
      const conversation = serving();
      conversation.lose();
      return conversation;
    },
  ],
];
const allowed: Readonly<Record<string, readonly string[]>> = {
  starting: ["ready"],
  ready: [],
  booting: ["log", "tail", "booted", "failed", "not_listening", "exit"],
  serving: ["log", "tail", "expired", "failed", "not_listening", "exit"],
  finishing: ["log", "tail", "expired", "failed", "not_listening", "exit"],
  over: [],
};

const ANY_FRAME: readonly [string, GateFrame][] = [
  ready,
  log("x"),
  tail("x"),
  booted,
  { type: "failed", stage: "exec", errno: 2 } as const,
  notListening,
  exit,
  { type: "expired" } as const,
  { type: "meta", bytes: Buffer.from("x") } as const,
  { type: "response", bytes: Buffer.from("x") } as const,
  data(2, "x"),
  credit(2, 1),
  close(2, "end"),
  { type: "accept", stream: 1 } as const,
  { type: "extensions", count: 1, names: ["a"] } as const,
  { type: "extension_end", index: 0, exitCode: 0, signal: 0, errno: 0 } as const,
].map((frame) => [frame.type, frame]);

describe.each(before)("a gate that is %s", (state, conversation) => {
  test.each(ANY_FRAME)("%s is taken if it may come now, and refused otherwise", (_type, frame) => {
    const open = conversation();
    expect<string>(open.state).toBe(state);
    if (allowed[state]?.includes(frame.type)) {
      expect<GateFrame[]>(say(open, frame)).toEqual([frame]);
    } else {
      expect(() => say(open, frame)).toThrow(ProtocolError);
    }
  });
});

describe("an app that connects to ask for its calls", () => {
  function accepting(readers: Recorder[]): BootConversation {
    const conversation = new BootConversation(
      () => undefined,
      (stream) => {
        const reader = new Recorder();
        readers.push(reader);
        stream.write(Buffer.from("hello"));
        return reader;
      },
    );
    say(conversation, ready);
    conversation.boot({ ...request, ports: [9001], serve: true });
    say(conversation, booted);
    expect(serverFrames(conversation)[0]?.[1][0]).toBe(3);
    return conversation;
  }
  const accept = (stream: number) => ({ type: "accept", stream }) as const;

  test("is heard through the streams that it opens, and told of calls", () => {
    const readers: Recorder[] = [];
    const conversation = accepting(readers);
    say(conversation, accept(1), data(1, "GET"), accept(3), data(3, "POST"), close(1, "end"));
    expect(readers.map(({ events }) => events)).toEqual([["GET", "end"], ["POST"]]);
    conversation.endCall();
    conversation.beginCall();
    conversation.endCall();
    conversation.beginCall({ withinMs: 1, mostMs: 2 });
    expect(serverFrames(conversation)).toEqual([
      [0x07, Buffer.from("\0\0\0\x01hello")],
      [0x07, Buffer.from("\0\0\0\x03hello")],
      [0x0c, Buffer.of(0)],
      [0x0c, Buffer.of(1, 0, 0, 0, 0, 0, 0, 0, 0)],
      [0x0c, Buffer.of(0)],
      [0x0c, Buffer.of(1, 0, 0, 0, 1, 0, 0, 0, 2)],
    ]);
    for (let allowed = 3; allowed > 0; allowed--) say(conversation, log("1234"));
    expect(() => say(conversation, log("9"))).toThrow("LOG frames hold more than the limit");
  });

  test("may have extensions, of which each ends once", () => {
    const extensions = { type: "extensions", count: 2, names: ["a", "b"] } as const;
    const ended = (index: number) => ({ type: "extension_end", index, exitCode: 1, signal: 0, errno: 0 }) as const;
    const boots = () => {
      const conversation = new BootConversation(
        () => undefined,
        () => new Recorder(),
      );
      say(conversation, ready);
      conversation.boot({ ...request, ports: [9001], serve: true });
      return conversation;
    };
    const conversation = boots();
    expect(say(conversation, extensions, booted)).toEqual([extensions, booted]);
    serverFrames(conversation);
    conversation.start();
    expect(() => conversation.start()).toThrow("Cannot start a command that waits for no extensions");
    expect(say(conversation, ended(1))).toEqual([ended(1)]);
    conversation.finish(300, { extensions: [0, 9], afterMs: 2_000 });
    expect(serverFrames(conversation)).toEqual([
      [0x0d, Buffer.of()],
      [0x0a, Buffer.of(0, 0, 1, 44, 0, 0, 7, 208, 2, 1)],
    ]);
    for (const frame of [ended(1), ended(2)])
      expect(() => say(conversation, frame)).toThrow("EXTENSION_END came for one that does not run");
    for (const frames of [
      [extensions, extensions],
      [booted, extensions],
    ])
      expect(() => say(boots(), ...frames)).toThrow(ProtocolError);
  });

  test.each([
    ["a number of the server's", [accept(2)]],
    ["a number that is taken", [accept(1), accept(1)]],
    ["more streams than there may be", [accept(1), accept(3), accept(5), accept(7), accept(9)]],
  ])("may not open a stream with %s", (_what, frames) => {
    expect(() => say(accepting([]), ...frames)).toThrow("ACCEPT came for a stream that cannot be");
  });
});

test("EXIT of an instance promises no files", () => {
  expect(() => say(serving(), { ...exit, metaState: "fine", metaBytes: 1 })).toThrow("EXIT promises files");
});

test("a chunk may end anywhere", () => {
  const conversation = serving();
  const reader = new Recorder();
  conversation.open(reader);
  for (const byte of Buffer.concat([data(2, "ab"), close(2, "reset", 32)].map(encodeGateFrame)))
    for (const _frame of conversation.push(Uint8Array.of(byte))) throw new Error("Nothing is said of the instance");
  expect(reader.events).toEqual(["ab", { errno: 32, delivered: false }]);
});

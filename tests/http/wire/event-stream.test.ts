import { describe, expect, test } from "bun:test";
import { type EventSink, eventStream, HEARTBEAT_MS, wantsEvents } from "../../../lib/http/wire/event-stream.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function follow(begin: (sink: EventSink) => void = () => undefined) {
  const clock = new FakeClock();
  let cleaned = 0;
  const sinks: EventSink[] = [];
  const response = eventStream(clock, (sink) => {
    sinks.push(sink);
    begin(sink);
    return () => (cleaned += 1);
  });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader(); // it was made with a stream
  const read = async () => {
    const { value, done } = await reader.read();
    return done ? undefined : Buffer.from(value).toString();
  };
  return { clock, response, reader, read, sink: sinks[0] as EventSink, cleaned: () => cleaned };
}

describe("eventStream", () => {
  test("sends events immediately, each with its data in one line", async () => {
    const { read, sink, response, cleaned } = follow();
    sink.send({ event: "log", data: { text: "two\nlines" } });
    expect(await read()).toBe('event: log\ndata: {"text":"two\\nlines"}\n\n');
    sink.end();
    expect(await read()).toBeUndefined();
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(cleaned()).toBe(1);
  });

  test("sends heartbeats until its reader leaves", async () => {
    const { clock, read, reader, sink, cleaned } = follow();
    // Bun would close the connection after twice as long.
    await clock.advance(HEARTBEAT_MS);
    expect(await read()).toBe(": still here\n\n");
    await reader.cancel();
    sink.send({ event: "late", data: 1 });
    sink.end();
    expect([cleaned(), clock.pending]).toEqual([1, 0]);
  });

  test("cleans up even if it ends before it has begun", async () => {
    const { read, cleaned, clock } = follow((sink) => sink.end());
    expect(await read()).toBeUndefined();
    expect([cleaned(), clock.pending]).toEqual([1, 0]);
  });

  test("closes the stream of a reader that reads nothing", () => {
    const { sink, cleaned, clock } = follow();
    for (let i = 0; i < 100; i++) sink.send({ event: "log", data: "x".repeat(100_000) });
    expect([cleaned(), clock.pending]).toEqual([1, 0]);
  });
});

describe("wantsEvents", () => {
  test.each([
    ["text/event-stream", true],
    ["application/json, Text/Event-Stream;q=0.9", true],
    ["application/json", false],
    ["text/event-streams", false],
    ["*/*", false],
  ])("Accept: %s is %p", (accept, wanted) => {
    expect(wantsEvents(new Request("http://localhost/", { headers: { accept } }))).toBe(wanted);
  });
});

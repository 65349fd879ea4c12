import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogEntry } from "../../../lib/domain/calls/invocations.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { processorTime } from "../../support/pace.ts";

function untimed(entries: readonly LogEntry[]): Omit<LogEntry, "time">[] {
  return entries.map(({ stream, text }) => ({ stream, text }));
}

test("LogCollector keeps the order of the streams and joins consecutive output of one stream", () => {
  const logs = new LogCollector(() => 0);
  logs.add("stdout", Buffer.from("a"));
  logs.add("stdout", Buffer.from("b"));
  logs.add("stderr", Buffer.from("c"));
  logs.add("stdout", Buffer.from("d"));
  expect(untimed(logs.finish())).toEqual([
    { stream: "stdout", text: "ab" },
    { stream: "stderr", text: "c" },
    { stream: "stdout", text: "d" },
  ]);
  expect(logs.bytes).toBe(4);
});

test("LogCollector joins characters that frames have split, even across output of the other stream", () => {
  const logs = new LogCollector(() => 0);
  const euro = Buffer.from("€");
  logs.add("stdout", euro.subarray(0, 1));
  logs.add("stderr", euro.subarray(0, 2));
  logs.add("stdout", euro.subarray(1));
  logs.add("stderr", euro.subarray(2));
  expect(untimed(logs.finish())).toEqual([
    { stream: "stdout", text: "€" },
    { stream: "stderr", text: "€" },
  ]);
});

test("LogCollector replaces bytes that are not UTF-8, and an incomplete last character", () => {
  const logs = new LogCollector(() => 0);
  logs.add("stdout", Buffer.from([0xff, 0x00, 0x1b, 0x41, 0xe2, 0x82]));
  expect(untimed(logs.finish())).toEqual([{ stream: "stdout", text: "\u{fffd}\u{0}\u{1b}A\u{fffd}" }]);
});

test("LogCollector.finish can be called again, and later output does not change its earlier result", () => {
  const logs = new LogCollector(() => 0);
  logs.add("stdout", Buffer.from("a"));
  const first = logs.finish();
  logs.add("stdout", Buffer.from("b"));
  expect(untimed(first)).toEqual([{ stream: "stdout", text: "a" }]);
  expect(untimed(logs.finish())).toEqual([{ stream: "stdout", text: "ab" }]);
});

test("LogCollector.finish shows a character that is not complete as a replacement, and whole when the rest has come", () => {
  const logs = new LogCollector(() => 0);
  const [euro, face] = [Buffer.from("€"), Buffer.from("😀")];
  logs.add("stdout", Buffer.from("5 "));
  logs.add("stderr", face.subarray(0, 3));
  logs.add("stdout", euro.subarray(0, 2));
  const before: Omit<LogEntry, "time">[] = [
    { stream: "stdout", text: "5 \u{fffd}" },
    { stream: "stderr", text: "\u{fffd}" },
  ];
  expect([untimed(logs.finish()), untimed(logs.finish())]).toEqual([before, before]);
  logs.add("stdout", euro.subarray(2));
  logs.add("stderr", face.subarray(3));
  expect(untimed(logs.finish())).toEqual([
    { stream: "stdout", text: "5 €" },
    { stream: "stderr", text: "😀" },
  ]);
});

test("LogCollector.finish says at any moment what a decoder says of the bytes so far, and changes nothing by that", () => {
  const unit = fc.constantFrom(0x41, 0x80, 0x90, 0xa0, 0xbf, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf1, 0xf4, 0xf5, 0xff);
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 12 }), (bytes) => {
      const logs = new LogCollector(() => 0);
      for (let end = 1; end <= bytes.length; end++) {
        logs.add("stdout", Uint8Array.of(bytes[end - 1] ?? 0));
        const text = logs.finish().map((entry) => entry.text);
        expect(text.join("")).toBe(
          new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes.slice(0, end))),
        );
      }
    }),
  );
});

test("LogCollector returns any text unchanged, however it is split", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.array(fc.integer({ min: 1, max: 7 })), (text, sizes) => {
      const bytes = Buffer.from(text);
      const logs = new LogCollector(() => 0);
      let at = 0;
      for (const size of [...sizes, bytes.length]) logs.add("stdout", bytes.subarray(at, (at += size)));
      const texts = logs.finish().map((entry) => entry.text);
      expect(texts.join("")).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
      expect(logs.bytes).toBe(bytes.length);
    }),
    { examples: [["\u{feff}a byte order mark is text like any other", [1]]] },
  );
});

test("LogCollector stores 64 KiB of one-byte frames at a reasonable cost, in a bounded number of entries", () => {
  const logs = new LogCollector(() => 0);
  const used = processorTime();
  for (let i = 0; i < 65_536; i++) logs.add(i % 2 === 0 ? "stdout" : "stderr", Buffer.of(65));
  const entries = logs.finish();
  expect(entries.length).toBe(2_000);
  expect(entries.reduce((sum, { text }) => sum + text.length, 0)).toBe(65_536);
  expect(used()).toBeLessThan(2_000);
});

test("LogCollector gives each entry the time of its first byte", () => {
  let now = 1_000;
  const logs = new LogCollector(() => now);
  logs.add("stdout", Buffer.from("a"));
  now += 5;
  logs.add("stdout", Buffer.from("b"));
  now += 60;
  logs.add("stdout", Buffer.from("c"));
  expect(logs.finish()).toEqual([
    { stream: "stdout", text: "ab", time: "1970-01-01T00:00:01.000Z" },
    { stream: "stdout", text: "c", time: "1970-01-01T00:00:01.065Z" },
  ]);
});

// C9
describe("beyond the limit", () => {
  /** Gathers what a gate with this limit passes on of a text. */
  function gathered(text: string, limit: number, secrets: readonly string[] = []) {
    const bytes = Buffer.from(text);
    const logs = new LogCollector(() => 0, secrets);
    logs.add("stdout", bytes.subarray(0, limit));
    const dropped = Math.max(0, bytes.length - limit);
    const tail = bytes.subarray(limit).subarray(-Math.min(Math.floor(limit / 2), dropped));
    if (dropped > 0 && tail.length > 0) logs.addTail("stdout", tail, 1_000);
    return { entries: logs.finish(dropped), bytes: logs.bytes };
  }

  test("LogCollector keeps the first half of the limit and the last, and says what is missing between them", () => {
    const { entries, bytes } = gathered("0123456789abcdefghijklmnop", 10);
    expect(entries).toMatchObject([{ text: "01234" }, { text: "lmnop", dropped_before_bytes: 16 }]);
    expect(bytes).toBe(10);
    // The end takes the place of no more than there is of it.
    expect(gathered("0123456789abc", 10).entries).toMatchObject([
      { text: "01234" },
      { text: "89", dropped_before_bytes: 3 },
      { text: "abc" },
    ]);
  });

  test("LogCollector keeps whole characters at both sides", () => {
    const { entries } = gathered(`${"é".repeat(5)}${"ü".repeat(20)}`, 11);
    expect(entries.map(({ text }) => text).join("|")).toMatch(/^é+\|[\u{fffd}ü]+$/u);
    expect(entries[0]?.text).toBe("ééé");
  });

  test("LogCollector keeps exactly the beginning and the end, for any text and limit", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z]{0,80}$/), fc.integer({ min: 2, max: 60 }), (text, limit) => {
        const { entries, bytes } = gathered(text, limit);
        const half = Math.floor(limit / 2);
        const kept = text.length <= limit ? text : text.slice(0, limit - half) + text.slice(-half);
        expect(entries.map((entry) => entry.text).join("")).toBe(kept);
        expect(bytes).toBe(Math.min(limit, text.length));
        const missing = entries.reduce((sum, { dropped_before_bytes = 0 }) => sum + dropped_before_bytes, 0);
        expect(missing).toBe(Math.max(0, text.length - limit));
      }),
    );
  });

  test("LogCollector shows no part of a secret at either side of what is missing", () => {
    const secret = "hunter2-is-long";
    fc.assert(
      fc.property(fc.nat(40), fc.nat(40), fc.integer({ min: 8, max: 40 }), (before, after, limit) => {
        const text = `${"x".repeat(before)}${secret}${"y".repeat(after)}${secret}${"z".repeat(before)}`;
        const shown = gathered(text, limit, [secret]).entries.map((entry) => entry.text);
        for (const one of shown) {
          for (let at = 0; at + 4 <= secret.length; at++) {
            // Fewer than four characters are not masked, as in output that ends within a value.
            if (one.includes(secret.slice(at, at + 4))) throw new Error(`${JSON.stringify(shown)} at ${limit}`);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

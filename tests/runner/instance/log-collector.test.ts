import { expect, test } from "bun:test";
import fc from "fast-check";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { processorTime } from "../../support/pace.ts";

test("LogCollector keeps the order of the streams and joins consecutive output of one stream", () => {
  const logs = new LogCollector();
  logs.add("stdout", Buffer.from("a"));
  logs.add("stdout", Buffer.from("b"));
  logs.add("stderr", Buffer.from("c"));
  logs.add("stdout", Buffer.from("d"));
  expect(logs.finish()).toEqual([
    { stream: "stdout", text: "ab" },
    { stream: "stderr", text: "c" },
    { stream: "stdout", text: "d" },
  ]);
  expect(logs.bytes).toBe(4);
});

test("LogCollector joins characters that frames have split, even across output of the other stream", () => {
  const logs = new LogCollector();
  const euro = Buffer.from("€");
  logs.add("stdout", euro.subarray(0, 1));
  logs.add("stderr", euro.subarray(0, 2));
  logs.add("stdout", euro.subarray(1));
  logs.add("stderr", euro.subarray(2));
  expect(logs.finish()).toEqual([
    { stream: "stdout", text: "€" },
    { stream: "stderr", text: "€" },
  ]);
});

test("LogCollector replaces bytes that are not UTF-8, and an incomplete last character", () => {
  const logs = new LogCollector();
  logs.add("stdout", Buffer.from([0xff, 0x00, 0x1b, 0x41, 0xe2, 0x82]));
  expect(logs.finish()).toEqual([{ stream: "stdout", text: "\u{fffd}\u{0}\u{1b}A\u{fffd}" }]);
});

test("LogCollector.finish can be called again, and later output does not change its earlier result", () => {
  const logs = new LogCollector();
  logs.add("stdout", Buffer.from("a"));
  const first = logs.finish();
  logs.add("stdout", Buffer.from("b"));
  expect(first).toEqual([{ stream: "stdout", text: "a" }]);
  expect(logs.finish()).toEqual([{ stream: "stdout", text: "ab" }]);
});

test("LogCollector returns any text unchanged, however it is split", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.array(fc.integer({ min: 1, max: 7 })), (text, sizes) => {
      const bytes = Buffer.from(text);
      const logs = new LogCollector();
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
  const logs = new LogCollector();
  const used = processorTime();
  for (let i = 0; i < 65_536; i++) logs.add(i % 2 === 0 ? "stdout" : "stderr", Buffer.of(65));
  const entries = logs.finish();
  expect(entries.length).toBe(2_000);
  expect(entries.reduce((sum, { text }) => sum + text.length, 0)).toBe(65_536);
  expect(used()).toBeLessThan(2_000);
});

import { describe, expect, test } from "bun:test";
import { BUILD_LOG_BYTES } from "../../../lib/domain/limits.ts";
import { BuildLog, storedLog, toStored } from "../../../lib/services/builds/build-log.ts";

describe("BuildLog", () => {
  test("gives what comes after a position", () => {
    const log = new BuildLog();
    log.add("one\n");
    log.add("two\n");
    expect([log.after(0), log.after(4), log.after(8), log.after(99)]).toEqual(["one\ntwo\n", "two\n", "", ""]);
    expect(log.end).toBe(8);
  });

  test("drops the beginning of long output, by whole lines, and keeps positions", () => {
    const log = new BuildLog();
    const line = `${"x".repeat(999)}\n`;
    const lines = Math.ceil(BUILD_LOG_BYTES / 1_000) + 5;
    for (let i = 0; i < lines; i++) log.add(line);
    expect(log.text.length).toBeLessThanOrEqual(BUILD_LOG_BYTES);
    expect(log.text.length).toBeGreaterThan(BUILD_LOG_BYTES / 2);
    expect(log.text.startsWith("x".repeat(999))).toBe(true);
    expect([log.end, log.start % 1_000]).toEqual([lines * 1_000, 0]);
    expect(log.after(log.end - 1_000)).toBe(line);
    expect(log.after(0)).toBe(log.text);
  });

  test("also drops a line that is too long", () => {
    const log = new BuildLog();
    log.add("y".repeat(2 * BUILD_LOG_BYTES));
    expect([log.text.length, log.end]).toEqual([BUILD_LOG_BYTES, 2 * BUILD_LOG_BYTES]);
  });

  test("is the same after it was stored", () => {
    const log = new BuildLog({ start: 5, text: "rest" });
    expect(storedLog(toStored(log))).toMatchObject({ start: 5, text: "rest", end: 9 });
    expect(storedLog(undefined).end).toBe(0);
  });
});

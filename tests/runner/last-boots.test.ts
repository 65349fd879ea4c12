import { describe, expect, test } from "bun:test";
import type { Boot } from "../../lib/domain/calls/boots.ts";
import type { LogEntry } from "../../lib/domain/calls/invocations.ts";
import { LastBoots, lastLines } from "../../lib/runner/last-boots.ts";

const said = (text: string): LogEntry => ({ stream: "stdout", time: "2026-01-31T12:00:00.000Z", text });
const bootOf = (version: number, ...texts: readonly string[]): Boot => ({
  version,
  ended_at: "2026-01-31T12:00:00.000Z",
  boot_ms: 5,
  problem: null,
  logs: texts.map(said),
});

describe("LastBoots", () => {
  test("has the last boot of each function, until that is forgotten", () => {
    const boots = new LastBoots();
    expect(boots.of("a")).toBeUndefined();
    boots.note("a", bootOf(1, "one"));
    boots.note("b", bootOf(7));
    boots.note("a", bootOf(2, "two"));
    expect([boots.of("a"), boots.of("b")]).toEqual([bootOf(2, "two"), bootOf(7)]);
    boots.forget("a");
    expect([boots.of("a"), boots.of("b")?.version]).toEqual([undefined, 7]);
  });

  test("forgets the function that has not booted for longest beyond 1,000", () => {
    const boots = new LastBoots();
    for (let at = 0; at < 1_000; at++) boots.note(`f${at}`, bootOf(1));
    // It has booted again, so that another one is the oldest.
    boots.note("f0", bootOf(2));
    boots.note("new", bootOf(1));
    expect([boots.of("f0")?.version, boots.of("f1"), boots.of("f2")?.version]).toEqual([2, undefined, 1]);
  });

  test("keeps the last 16,384 characters of the output", () => {
    const boots = new LastBoots();
    const keeps = (...texts: readonly string[]) => {
      boots.note("a", bootOf(1, ...texts));
      return boots.of("a")?.logs.map(({ text }) => text);
    };
    const most = "x".repeat(16_384);
    expect(keeps("a", most)).toEqual([most]);
    expect(keeps(`first${most.slice(4)}`, "last")).toEqual([most.slice(4), "last"]);
    expect(keeps("a", "b")).toEqual(["a", "b"]);
  });
});

describe("lastLines", () => {
  test("joins pieces, and leaves out empty lines and what stands at the end of others", () => {
    expect(lastLines([said("a\nb"), said("c \r\n\n  d"), said("\n")], 2)).toEqual(["bc", "  d"]);
    expect(lastLines([], 5)).toEqual([]);
  });
});

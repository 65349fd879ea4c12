import { describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { notFound } from "../../../lib/domain/quoted.ts";
import { Lines } from "../../../lib/http/openfaas/logs.ts";
import { type AskedLogs, PAST, PAST_CALLS, pastText } from "../../../lib/http/openfaas/past-logs.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";

const ALL: AskedLogs = { function_id: "f", name: "figlet", since: undefined, lines: undefined, instance: undefined };
const clock = { now: () => Date.parse("2026-01-31T12:00:00Z") };
const HOUR_MS = 3_600_000;

/** Returns a function with so many calls, each an hour after the one before, and notes which outputs are read. */
function world(count: number, printed: (index: number) => string) {
  const read: string[] = [];
  const at = (index: number) => new Date(clock.now() + index * HOUR_MS).toISOString();
  const call = (index: number): Invocation =>
    someInvocation(`call-${index}`, { function_id: "f", created_at: at(index) });
  const invocations = {
    get: async (id: string) => call(Number(id.slice("call-".length))),
    list: async ({ limit = 50, cursor, since = "" }: { limit?: number; cursor?: string; since?: string }) => {
      const from = cursor === undefined ? count - 1 : Number(cursor);
      const found: Invocation[] = [];
      let index = from;
      for (; index >= 0 && found.length < limit && at(index) >= since; index--) found.push(call(index));
      return { invocations: found, next_cursor: index >= 0 && at(index) >= since ? String(index) : null };
    },
    logs: async (id: string) => {
      read.push(id);
      const index = Number(id.slice("call-".length));
      const entries = [{ stream: "stdout" as const, text: printed(index), time: at(index) }];
      return { entries, dropped_bytes: 0 };
    },
  };
  const begin = (asked: Partial<AskedLogs>) =>
    pastText({ invocations, clock }, { ...ALL, ...asked }, new AbortController().signal);
  const texts = async (asked: Partial<AskedLogs> = {}) => {
    let text = "";
    for await (const piece of await begin(asked)) text += piece;
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { text: string }).text); // as it was written
  };
  return { invocations, read, begin, texts, at };
}

describe("what calls have printed", () => {
  test("comes oldest first, and as many of the last lines as are asked for", async () => {
    const { texts, at } = world(3, (index) => `${index}a\n${index}b`);
    expect(await texts()).toEqual(["0a", "0b", "1a", "1b", "2a", "2b"]);
    expect(await texts({ lines: 3 })).toEqual(["1b", "2a", "2b"]);
    expect(await texts({ since: at(1) })).toEqual(["1a", "1b", "2a", "2b"]);
    expect(await texts({ instance: "call-1" })).toEqual(["1a", "1b"]);
    expect(await texts({ instance: "call-1", function_id: "other" })).toEqual([]);
  });

  test("is that of the latest calls only, unless a time is given", async () => {
    const { texts, at } = world(PAST_CALLS.usual + 2, String);
    expect((await texts())[0]).toBe("2");
    expect((await texts({ since: at(0) }))[0]).toBe("0");
  });

  test("is limited in lines: the first is in the middle of a call, and earlier calls are not read", async () => {
    const { begin, read, texts, at } = world(5_000, (index) => `${index}\n`.repeat(3_000));
    const found = await texts({ since: at(0) });
    expect(found).toHaveLength(PAST.lines);
    expect([found[0], found.at(-1), found.filter((text) => text === found[0]).length]).toEqual(["4993", "4999", 2_000]);
    read.length = 0;
    const text = await begin({ since: at(0) });
    expect(read).toHaveLength(7);
    await text.next();
    expect(read.slice(7)).toEqual(["call-4993"]);
    await text.return(undefined);
    expect(read).toHaveLength(8);
  });

  test("is limited in characters", async () => {
    const { texts } = world(100, () => "x".repeat(64 * 1024));
    expect(await texts()).toHaveLength(PAST.characters / (64 * 1024));
  });

  test("lets others have their turn while it is found and while it is sent", async () => {
    const { begin } = world(3, () => {
      const began = performance.now();
      while (performance.now() - began < 10);
      return "line\n";
    });
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    const text = await begin({});
    const whileFound = turns;
    for await (const _ of text);
    isOver = true;
    expect([whileFound > 0, turns > whileFound]).toEqual([true, true]);
  });

  test("has nothing of a call whose record is removed meanwhile", async () => {
    const { texts, invocations } = world(3, String);
    const { logs } = invocations;
    invocations.logs = (id) => (id === "call-1" ? Promise.reject(notFound("invocation", id)) : logs(id));
    expect(await texts()).toEqual(["0", "2"]);
  });
});

describe("the lines of calls that run", () => {
  const piece = (from: number, to: number, text: string) => ({
    entries: Array.from({ length: to - from }, (_, index) => ({
      invocation_id: `call-${from + index}`,
      stream: "stdout" as const,
      text,
    })),
    ends: [],
    left_out: 0,
  });

  test("wait for their ends, which of very many calls may never be told", () => {
    const lines = new Lines({ name: "figlet", instance: undefined }, clock);
    expect(lines.take(piece(0, 200, "begun"))).toEqual([]);
    const out = lines.take(piece(200, 203, "begun"));
    expect(out.map(({ instance, text }) => `${instance} ${text}`)).toEqual([
      "call-0 begun",
      "call-1 begun",
      "call-2 begun",
    ]);
    expect(lines.take(piece(3, 203, " and over\n")).map(({ text }) => text)).toEqual(Array(200).fill("begun and over"));
    expect(lines.take(piece(3, 203, "again"))).toEqual([]);
  });

  test("are taken however many are in one piece", () => {
    const lines = new Lines({ name: "figlet", instance: undefined }, clock);
    expect(lines.take(piece(0, 1, "\n".repeat(200_000)))).toHaveLength(200_000);
  });
});

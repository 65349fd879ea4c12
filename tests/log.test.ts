import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { bursts, createLogger, type LogFormat, type LogLevel } from "../lib/log.ts";
import { eventually } from "./support/pace.ts";

const clock = { now: () => Date.UTC(2026, 0, 31, 12) };

function capture(format: LogFormat = "json", level: LogLevel = "debug") {
  const lines: string[] = [];
  const log = createLogger({ level, format, clock, write: (line) => lines.push(line) });
  return { log, lines };
}

function fieldsOf(line: string | undefined): Record<string, unknown> {
  return JSON.parse(line ?? "");
}

test("json: one line per event, with time, level, event and fields", () => {
  const { log, lines } = capture();
  log.info("function created", { function_id: "f1", bytes: 12, ok: true, name: null });
  expect(lines).toEqual([
    '{"time":"2026-01-31T12:00:00.000Z","level":"info","event":"function created","function_id":"f1","bytes":12,"ok":true,"name":null}\n',
  ]);
});

test("json: newlines are escaped, and no field replaces time, level or event", () => {
  const { log, lines } = capture();
  log.warn("a\nb", { text: 'one\ntwo\u2028"', level: "debug", time: 0, event: "forged" });
  expect(lines[0]?.trimEnd()).not.toContain("\n");
  expect(fieldsOf(lines[0])).toEqual({
    time: "2026-01-31T12:00:00.000Z",
    level: "warn",
    event: "a\nb",
    text: 'one\ntwo\u2028"',
  });
});

test("level: events below it are not written", () => {
  const { log, lines } = capture("json", "warn");
  log.debug("1");
  log.info("2");
  log.warn("3");
  log.error("4");
  expect(lines.map((line) => fieldsOf(line)["event"])).toEqual(["3", "4"]);
});

test("child: adds its fields, which those of the event override", () => {
  const { log, lines } = capture();
  log.child({ part: "store", id: 1 }).child({ more: 2 }).info("opened", { id: 3 });
  expect(fieldsOf(lines[0])).toMatchObject({ part: "store", more: 2, id: 3 });
});

test("errors: message, stack, cause and their own fields", () => {
  const { log, lines } = capture();
  const error = Object.assign(new TypeError("broken", { cause: new Error("why") }), { reason: "internal", errno: 5n });
  log.error("failed", { error });
  const logged = fieldsOf(lines[0])["error"];
  expect(logged).toMatchObject({
    name: "TypeError",
    message: "broken",
    reason: "internal",
    errno: "5",
    cause: { name: "Error", message: "why" },
  });
  expect(logged).toHaveProperty("stack", expect.stringContaining("log.test.ts"));
});

const cyclic: Record<string, unknown> = { name: "a" };
cyclic["self"] = cyclic;
const selfCaused = new Error("loop");
selfCaused.cause = selfCaused;
const throwing = {
  fine: 1,
  get bad(): never {
    throw new Error("no");
  },
};
const deep = JSON.parse(`${"[".repeat(5000)}${"]".repeat(5000)}`);

test.each<[string, unknown, unknown]>([
  ["a bigint", 2n ** 64n, "18446744073709551616"],
  ["a cycle", cyclic, { name: "a", self: "[circular]" }],
  ["an error that is its own cause", selfCaused, expect.objectContaining({ message: "loop", cause: "[circular]" })],
  ["a getter that throws", throwing, { fine: 1, bad: "[unreadable]" }],
  ["a symbol", Symbol("s"), "Symbol(s)"],
  ["no number", Number.NaN, "NaN"],
  ["an invalid date", new Date(Number.NaN), "invalid date"],
  ["bytes", new Uint8Array(7), "[7 bytes]"],
  ["a map", new Map([["k", 1]]), [["k", 1]]],
  ["a long text", "x".repeat(20_000), `${"x".repeat(16_384)}...`],
  ["a long list", Array.from({ length: 1000 }, () => 0), Array.from({ length: 100 }, () => 0)],
  ["something deep", deep, [[[[[["[deeper]"]]]]]]],
  ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ["a revoked proxy", revokedProxy(), "[unreadable]"],
])("json: %s is written safely", (_, value, expected) => {
  const { log, lines } = capture();
  log.info("event", { value });
  expect(fieldsOf(lines[0])["value"]).toEqual(expected);
});

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

test("text: readable, quoted if needed, without control characters", () => {
  const { log, lines } = capture("text");
  log.info("listening", {
    url: "http://127.0.0.1:9999",
    note: "two words",
    empty: "",
    count: 3,
    list: [1],
    gone: undefined,
  });
  log.warn("odd\u001b[31m", { text: "a\nb \u0007" });
  expect(lines).toEqual([
    '2026-01-31T12:00:00.000Z INFO  listening url=http://127.0.0.1:9999 note="two words" empty="" count=3 list=[1]\n',
    '2026-01-31T12:00:00.000Z WARN  odd\\u001b[31m text="a\\nb \\u0007"\n',
  ]);
});

test("text: an error's stack follows its line, indented", () => {
  const { log, lines } = capture("text");
  log.error("failed", { error: new Error("broken pipe") });
  const [first, second, third] = (lines[0] ?? "").split("\n");
  expect(first).toEndWith('ERROR failed error="broken pipe"');
  expect(second).toBe("    Error: broken pipe");
  expect(third).toStartWith("        at ");
});

test("standard error: a reader that goes away does not end the process", async () => {
  const script = `
    import { createLogger } from ${JSON.stringify(import.meta.resolve("../lib/log.ts"))};
    const log = createLogger({ level: "info", format: "auto", clock: { now: () => 0 } });
    for (let i = 0; i < 5000; i++) log.info("event", { i, text: "x".repeat(100) });
    console.log("still here");
  `;
  const child = Bun.spawn(["sh", "-c", '{ "$0" -e "$1" 2>&1 >&3 | head -n 1; } 3>&1', process.execPath, script]);
  const output = await new Response(child.stdout).text();
  expect(output).toContain('{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"event","i":0');
  expect(output).toContain("still here");
});

test("standard error: a line besides the log comes behind the events before it", async () => {
  const script = `
    import { createLogger, printBesidesLog } from ${JSON.stringify(import.meta.resolve("../lib/log.ts"))};
    const log = createLogger({ level: "info", format: "text", clock: { now: () => 0 } });
    log.info("first");
    log.info("second");
    printBesidesLog("third\\n");
    log.info("fourth");
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "pipe" });
  const output = await new Response(child.stderr).text();
  expect(output.match(/first|second|third|fourth/g)).toEqual(["first", "second", "third", "fourth"]);
});

describe("bursts", () => {
  test("a line goes out at once, those of the next moment together, and a warning with all that was kept back", async () => {
    const written: string[] = [];
    const write = bursts((text) => written.push(text));
    write("1\n", "info");
    expect(written).toEqual(["1\n"]);
    write("2\n", "info");
    write("3\n", "debug");
    expect(written).toEqual(["1\n"]);
    write("4\n", "warn");
    expect(written).toEqual(["1\n", "2\n3\n4\n"]);
    write("5\n", "info");
    write("6\n", "info");
    expect(await eventually(() => written.length === 3)).toBe(true);
    expect(written[2]).toBe("5\n6\n");
  });

  test("the lines before an exit arrive, whatever they were kept back for", async () => {
    const script = `
      import { createLogger } from ${JSON.stringify(join(import.meta.dir, "../lib/log.ts"))};
      const log = createLogger({ level: "info", format: "json", clock: { now: () => 0 } });
      for (const event of ["1", "2", "3"]) log.info(event);
      process.exit(0);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "pipe" });
    const events = (await child.stderr.text())
      .trim()
      .split("\n")
      .map((line) => fieldsOf(line)["event"]);
    expect(events).toEqual(["1", "2", "3"]);
  });
});

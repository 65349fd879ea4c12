import { afterEach, describe, expect, test } from "bun:test";
import type { Run } from "../../../lib/runner/instance/instance.ts";
import { settled } from "../../support/fake-clock.ts";
import { FakeApp } from "./fake-app.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const SHORT = `${OK}Content-Length: 2\r\n\r\nhi`;

let app: FakeApp;

afterEach(async () => {
  app.instance.retire();
  await settled();
  expect([app.clock.pending, app.channel.closed]).toEqual([0, true]);
});

async function booted(settings: ConstructorParameters<typeof FakeApp>[0] = {}): Promise<FakeApp> {
  app = new FakeApp(settings);
  return app.boot();
}

describe("BootedInstance serves a call", () => {
  test("and what it prints between its boot and that call is of its boot, but not before a later call", async () => {
    await booted({ max_calls: 0 });
    await app.log("listening\n");
    const texts = async (stream: number) => {
      const pending = app.call();
      await app.heard();
      await app.send(stream, SHORT);
      const run = await pending;
      await app.confirmEnd(stream);
      const { logs } = await run.ended;
      return logs.map(({ text, boot }) => [text, boot]);
    };
    expect(await texts(2)).toEqual([["listening\n", true]]);
    await app.log("idle\n");
    expect(await texts(4)).toEqual([["idle\n", undefined]]);
  });

  test("and what comes behind its answer is its own until the gate confirms its end, also when the next call has begun", async () => {
    await booted({ max_calls: 0 });
    const textsOf = async ({ ended }: Run) => (await ended).logs.map(({ text }) => text).join("");
    const pending = app.call();
    await app.heard();
    await app.log("first ");
    await app.send(2, SHORT);
    const first = await pending;
    await first.over;
    const next = app.call();
    await app.heard();
    await app.log("of the first\n");
    await app.confirmEnd(2);
    await app.log("of the second\n");
    await app.send(4, SHORT);
    const second = await next;
    await app.confirmEnd(4);
    await app.log("idle\n");
    expect([await textsOf(first), await textsOf(second)]).toEqual(["first of the first\n", "of the second\n"]);
  });

  test("and its record ends with its instance if the gate never confirms its end", async () => {
    await booted({ max_calls: 0 });
    const pending = app.call();
    await app.heard();
    await app.send(2, SHORT);
    const { ended } = await pending;
    await app.log("last\n");
    app.instance.retire();
    expect((await ended).logs).toMatchObject([{ text: "last\n" }]);
  });

  test("whose answer begins in the middle of a character of its output: the log has it whole", async () => {
    await booted();
    const pending = app.call();
    await app.heard();
    const euro = Buffer.from("€");
    const print = (bytes: Uint8Array) => app.say({ type: "log", stream: "stdout", bytes });
    await print(euro.subarray(0, 1));
    await app.send(2, `${OK}Content-Type: text/event-stream\r\n\r\none`);
    const run = await pending;
    await print(euro.subarray(1));
    app.instance.retire();
    expect((await run.ended).logs.map(({ text }) => text)).toEqual(["€"]);
  });

  test("whose end of the output comes behind its answer, and no report: the log has it", async () => {
    await booted();
    const pending = app.call();
    await app.heard();
    await app.log("x".repeat(1_000));
    await app.send(2, SHORT);
    const run = await pending;
    await app.say({ type: "tail", stream: "stdout", age_ms: 0, bytes: Buffer.from("the end") });
    app.instance.retire();
    expect((await run.ended).logs.at(-1)?.text).toContain("the end");
  });
});

import { afterEach, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { KILL_GRACE_MS } from "../../../lib/domain/limits.ts";
import { NotDelivered } from "../../../lib/runner/instance/boot/not-delivered.ts";
import { settled } from "../../support/fake-clock.ts";
import { FakeApp } from "./fake-app.ts";

const FINISH = 0x0a;

let app: FakeApp;

afterEach(async () => {
  app.instance.retire();
  await settled();
  expect([app.clock.pending, app.channel.closed]).toEqual([0, true]);
});

/** Boots an instance that serves two calls at once. */
async function booted(): Promise<FakeApp> {
  app = new FakeApp({ concurrency: 2, max_calls: 0 });
  return app.boot();
}

test("the gate has limits for a call that must come in time, and none for another", async () => {
  await booted();
  await app.clock.advance(500);
  const calls = [app.call({}, { by: app.clock.monotonic() + 5_000.7 }), app.call()];
  await app.heard();
  expect(app.stream(1).limits).toEqual({ withinMs: 5_500, mostMs: 1_000 + KILL_GRACE_MS });
  expect(app.stream(2).limits).toEqual({ withinMs: 0, mostMs: 0 });
  app.instance.retire();
  await Promise.all(calls);
});

test("a call goes elsewhere if the instance has been ready for so long that its gate cannot be told", async () => {
  await booted();
  const late = app.call({}, { by: app.clock.monotonic() + 2 ** 32 });
  expect(await late.catch((error: unknown) => error)).toBeInstanceOf(NotDelivered);
  expect(app.instance.calls).toBe(0);
});

test("a call past its timeout is abandoned, not ended: its limit stays while others use the instance", async () => {
  await booted();
  const first = app.call({}, { by: app.clock.monotonic() + 5_000 });
  await app.clock.advance(500);
  const second = app.call();
  await app.clock.advance(500);
  await app.heard();
  expect((await first).outcome.status).toBe("timed_out");
  expect([app.stream(1), app.stream(2)]).toMatchObject([{ abandoned: true }, { closed: false }]);
  expect([app.instance.state, app.told.includes(FINISH)]).toEqual(["draining", false]);
  app.instance.retire();
  await second;
});

test("EXPIRED ends the calls that are late, and the others end as the function does", async () => {
  await booted();
  const calls = [app.call({}, { timeout_ms: 1_000 }), app.call({}, { timeout_ms: 60_000 })];
  await app.heard();
  // Its timer has not fired: the server was stopped.
  app.clock.monotonic = () => 4_000;
  await app.say({ type: "expired" });
  await app.exit({ signal: 9 });
  const [late, other] = await Promise.all(calls);
  expect(late?.outcome).toMatchObject({ status: "timed_out", reason: "function_timeout", signal: null });
  expect(await late?.ended).toMatchObject({ status: "timed_out", exit_code: null, signal: null });
  expect(other?.outcome).toMatchObject({
    status: "failed",
    message: expect.stringContaining("ended by signal 9"),
  });
  expect(app.instance.state).toBe("retired");
});

test.each([
  [new AppError("shutting_down", "The attempt has lost its lease"), "retired"],
  [new AppError("cancelled", "The invocation was cancelled"), "busy"],
])("a call that is given up, as %p, leaves a shared instance %s", async (reason, state) => {
  await booted();
  const abort = new AbortController();
  const calls = [app.call({}, { signal: abort.signal }), app.call()];
  await app.heard();
  abort.abort(reason);
  expect((await calls[0])?.outcome.status).toBe("cancelled");
  expect<string>(app.instance.state).toBe(state);
  app.instance.retire();
  await Promise.all(calls);
});

test("a call that another server has by now ends an instance that is kept, also without other calls", async () => {
  await booted();
  const abort = new AbortController();
  const run = app.call({}, { signal: abort.signal });
  await app.heard();
  abort.abort(new AppError("shutting_down", "The attempt has lost its lease"));
  expect((await run).outcome.status).toBe("cancelled");
  expect(app.channel.closed).toBe(true);
});

import { expect, test } from "bun:test";
import { BodyMemory } from "../../../lib/http/calls/body-memory.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { NO_SECRETS } from "../../../lib/domain/secrets.ts";
import type { Runner } from "../../../lib/runner/runner.ts";
import { AttemptRunner } from "../../../lib/services/work/attempt-runner.ts";
import { newWork } from "../../store/contract/records.ts";
import { someFunction, stillClock } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const KIB = 1024;
const BUDGET = 1_000 * KIB;

test("requests of attempts count in the memory for bodies: while it is full one goes on at most (B2)", async () => {
  using services = manifestServices();
  using memory = new BodyMemory({ clock: stillClock(), budget: BUDGET });
  await services.store.functions.insert(someFunction("f1"));
  const { promise: running, reject: end } = Promise.withResolvers<never>();
  const runner = { run: () => running, hasRoomBehind: () => true } as unknown as Runner; // nothing else is asked of it
  const metrics = new Metrics();
  const attempts = new AttemptRunner({ ...services, runner, secretsFor: () => NO_SECRETS, metrics, memory });
  const begin = async (id: string) => {
    const body = Buffer.alloc(600 * KIB);
    const invocation = { ...newWork(id).invocation, function_id: "f1", request_bytes: body.length };
    await services.store.ledger.submit({ invocation, request: { request: body, request_meta: null } });
    const task = { invocation, attempt: 1, signal: new AbortController().signal };
    const made = attempts.run({ ...task, onHandover: () => Promise.resolve(), onLogs: () => undefined });
    return { ended: made.then(() => undefined).catch(() => undefined) };
  };

  const room = memory.take(BUDGET, () => "a client");
  expect(attempts.hasRoom("f1")).toBe(true);
  const first = await begin("a");
  expect(attempts.hasRoom("f1")).toBe(false);
  memory.release(room);
  expect([memory.used, attempts.hasRoom("f1")]).toEqual([600 * KIB, true]);
  const second = await begin("b");
  // The next caller is refused, and the next attempt waits.
  expect(() => memory.take(1, () => "a client")).toThrow("BODY_MEMORY");
  expect(attempts.hasRoom("f1")).toBe(false);
  end(new Error("enough"));
  await Promise.all([first.ended, second.ended]);
  expect([memory.used, attempts.hasRoom("f1")]).toEqual([0, true]);
});

import { expect, test } from "bun:test";
import type { Span } from "../../../lib/services/tracing/span.ts";
import { SpanQueue } from "../../../lib/services/tracing/span-queue.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";

const NO_SPANS: readonly Span[] = [];

/** A queue whose collector the test plays. */
function newQueue(send: (count: number) => Promise<void> = async () => undefined) {
  const clock = new FakeClock();
  const { log, events } = listeningLog();
  /** The number of ends of each request. */
  const sent: number[] = [];
  let made = 0;
  const queue = new SpanQueue({
    send: () => {
      sent.push(made);
      made = 0;
      return send(sent.length);
    },
    clock,
    log,
  });
  const add = (count: number) => {
    for (let index = 0; index < count; index++) {
      queue.add(() => {
        made += 1;
        return NO_SPANS;
      });
    }
  };
  const said = (words: string) => events.filter((line) => JSON.stringify(line).includes(words)).length;
  return { queue, clock, sent, said, add };
}

test("ends are sent together, a second after the first one, and nothing is made before", async () => {
  const { clock, sent, add } = newQueue();
  add(3);
  await clock.advance(999);
  expect(sent).toEqual([]);
  await clock.advance(1);
  expect(sent).toEqual([3]);
  await clock.advance(60_000);
  expect(sent).toEqual([3]);
});

test("many are sent at once, in batches of a bounded size", async () => {
  const { clock, sent, add } = newQueue();
  add(300);
  await settled();
  expect(sent).toEqual(Array.from({ length: 9 }, () => 32));
  await clock.advance(1_000);
  expect(sent.at(-1)).toBe(300 - 9 * 32);
});

test("while a collector is slow, the queue is bounded, and what has no room is counted", async () => {
  const answered = Promise.withResolvers<void>();
  const { queue, clock, sent, add } = newQueue(() => answered.promise);
  add(32);
  await settled();
  add(3_000);
  expect(queue.dropped).toBe(3_000 - 2_048);
  answered.resolve();
  await clock.advance(1_000);
  expect(sent.reduce((sum, count) => sum + count)).toBe(32 + 2_048);
});

test("a collector that is away is asked now and then, and the log has a line now and then", async () => {
  let isUp = false;
  const { queue, clock, sent, said, add } = newQueue(() =>
    isUp ? Promise.resolve() : Promise.reject(new Error("gone")),
  );
  for (let second = 0; second < 50; second++) {
    add(1);
    await clock.advance(1_000);
  }
  expect(sent.length).toBeLessThan(15);
  expect(said("gone")).toBe(1);
  expect(queue.dropped).toBeGreaterThan(30);
  add(1);
  isUp = true;
  const { dropped } = queue;
  await clock.advance(10_000);
  expect(said("exported again")).toBe(1);
  add(1);
  await clock.advance(1_000);
  expect(queue.dropped).toBe(dropped);
});

test("a server that stops sends what is left", async () => {
  const { queue, sent, add } = newQueue();
  add(5);
  await queue[Symbol.asyncDispose]();
  expect(sent).toEqual([5]);
});

test("a server that stops waits for two seconds at most", async () => {
  const { queue, clock, sent, add } = newQueue(() => new Promise(() => undefined));
  add(34);
  await settled();
  let hasEnded = false;
  const stopped = queue[Symbol.asyncDispose]().then(() => (hasEnded = true));
  await clock.advance(1_999);
  expect(hasEnded).toBe(false);
  await clock.advance(1);
  await stopped;
  expect(sent).toEqual([32]);
  expect(queue.dropped).toBe(2);
});

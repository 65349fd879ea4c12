import { expect, test } from "bun:test";
import { ContainerEnds } from "../../../lib/docker/api/container-ends.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const UNKNOWN = { oom: false, died: false, gone: false };

test("ContainerEnds.wait returns an end that was known before it was called", async () => {
  const clock = new FakeClock();
  const ends = new ContainerEnds(clock);
  ends.take("a", "oom");
  ends.take("a", "die");
  expect(await ends.wait("a", "died", 100)).toEqual({ oom: true, died: true, gone: false });
  expect(clock.pending).toBe(0);
});

test("ContainerEnds.wait is woken by the event it waits for, and by no other", async () => {
  const clock = new FakeClock();
  const ends = new ContainerEnds(clock);
  let told = false;
  const waiting = ends.wait("a", "gone", 100).finally(() => (told = true));
  ends.take("b", "destroy");
  ends.take("a", "die");
  await clock.advance(99);
  expect(told).toBe(false);
  ends.take("a", "destroy");
  expect(await waiting).toEqual({ oom: false, died: true, gone: true });
  expect(clock.pending).toBe(0);
});

test("ContainerEnds.wait returns the known facts when its time is over, and at once without a time", async () => {
  const clock = new FakeClock();
  const ends = new ContainerEnds(clock);
  const waiting = ends.wait("a", "died", 100);
  ends.take("a", "oom");
  await clock.advance(100);
  expect(await waiting).toEqual({ ...UNKNOWN, oom: true });
  expect(await ends.wait("b", "died", 0)).toEqual(UNKNOWN);
});

test("ContainerEnds.wait keeps its result even if another caller forgets the container", async () => {
  const ends = new ContainerEnds(new FakeClock());
  const waiting = ends.wait("a", "died", 100);
  ends.take("a", "destroy");
  ends.forget("a");
  expect(await waiting).toMatchObject({ died: true, gone: true });
  expect(await ends.wait("a", "died", 0)).toEqual(UNKNOWN);
});

test("ContainerEnds.giveUp wakes all waiting callers", async () => {
  const clock = new FakeClock();
  const ends = new ContainerEnds(clock);
  const waiting = [ends.wait("a", "died", 100), ends.wait("a", "gone", 100), ends.wait("b", "gone", 100)];
  ends.giveUp();
  expect(await Promise.all(waiting)).toEqual([UNKNOWN, UNKNOWN, UNKNOWN]);
  expect(clock.pending).toBe(0);
});

test("ContainerEnds drops the oldest end beyond its limit", async () => {
  const ends = new ContainerEnds(new FakeClock());
  for (let i = 0; i <= 10_000; i++) ends.take(String(i), "die");
  expect((await ends.wait("0", "died", 0)).died).toBe(false);
  expect((await ends.wait("1", "died", 0)).died).toBe(true);
});

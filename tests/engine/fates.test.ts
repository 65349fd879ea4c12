import { expect, test } from "bun:test";
import { Fates } from "../../lib/engine/fates.ts";
import { FakeClock } from "../support/fake-clock.ts";

const UNKNOWN = { oom: false, died: false, gone: false };

test("Fates.wait tells what was known before it was asked", async () => {
  const clock = new FakeClock();
  const fates = new Fates(clock);
  fates.take("a", "oom");
  fates.take("a", "die");
  expect(await fates.wait("a", "died", 100)).toEqual({ oom: true, died: true, gone: false });
  expect(clock.pending).toBe(0);
});

test("Fates.wait is woken by the event it waits for, and by no other", async () => {
  const clock = new FakeClock();
  const fates = new Fates(clock);
  let told = false;
  const waiting = fates.wait("a", "gone", 100).finally(() => (told = true));
  fates.take("b", "destroy");
  fates.take("a", "die");
  await clock.advance(99);
  expect(told).toBe(false);
  fates.take("a", "destroy");
  expect(await waiting).toEqual({ oom: false, died: true, gone: true });
  expect(clock.pending).toBe(0);
});

test("Fates.wait ends after its time with what is known then, and at once where it has none", async () => {
  const clock = new FakeClock();
  const fates = new Fates(clock);
  const waiting = fates.wait("a", "died", 100);
  fates.take("a", "oom");
  await clock.advance(100);
  expect(await waiting).toEqual({ ...UNKNOWN, oom: true });
  expect(await fates.wait("b", "died", 0)).toEqual(UNKNOWN);
});

test("Fates.wait keeps what it was told although another forgets the container", async () => {
  const fates = new Fates(new FakeClock());
  const waiting = fates.wait("a", "died", 100);
  fates.take("a", "destroy");
  fates.forget("a");
  expect(await waiting).toMatchObject({ died: true, gone: true });
  expect(await fates.wait("a", "died", 0)).toEqual(UNKNOWN);
});

test("Fates.giveUp wakes all who wait", async () => {
  const clock = new FakeClock();
  const fates = new Fates(clock);
  const waiting = [fates.wait("a", "died", 100), fates.wait("a", "gone", 100), fates.wait("b", "gone", 100)];
  fates.giveUp();
  expect(await Promise.all(waiting)).toEqual([UNKNOWN, UNKNOWN, UNKNOWN]);
  expect(clock.pending).toBe(0);
});

test("Fates keeps no more than it can hold", async () => {
  const fates = new Fates(new FakeClock());
  for (let i = 0; i <= 10_000; i++) fates.take(String(i), "die");
  expect((await fates.wait("0", "died", 0)).died).toBe(false);
  expect((await fates.wait("1", "died", 0)).died).toBe(true);
});

import { expect, test } from "bun:test";
import { COLLECTED_AFTER_MS, IdleCollector } from "../../lib/server/idle-collector.ts";
import { createLogger } from "../../lib/log.ts";
import { FakeClock } from "../support/fake-clock.ts";

function setUp() {
  const clock = new FakeClock();
  const log = createLogger({ level: "error", format: "json", clock });
  const state = { cpuMs: 0, collections: 0 };
  const collector = new IdleCollector({
    clock,
    log,
    cpuMs: () => state.cpuMs,
    collect: () => {
      state.collections++;
      state.cpuMs += 50;
    },
  });
  collector.start();
  /** Lets time pass in which the process uses `cpuMs` of each second. */
  const pass = async (seconds: number, cpuMs: number) => {
    for (let i = 0; i < seconds; i++) {
      state.cpuMs += cpuMs;
      await clock.advance(1_000);
    }
  };
  return { clock, collector, state, pass };
}

test("IdleCollector collects once after the start, and not again without work", async () => {
  const { state, pass } = setUp();
  await pass(COLLECTED_AFTER_MS / 1_000, 0.3);
  expect(state.collections).toBe(1);
  await pass(600, 0.3);
  expect(state.collections).toBe(1);
});

test("IdleCollector does not collect while there is work", async () => {
  const { state, pass } = setUp();
  await pass(600, 10);
  expect(state.collections).toBe(0);
});

test("IdleCollector collects within COLLECTED_AFTER_MS after each burst of work", async () => {
  const { state, pass } = setUp();
  for (let times = 1; times <= 3; times++) {
    await pass(17, 400);
    expect(state.collections).toBe(times - 1);
    await pass(COLLECTED_AFTER_MS / 1_000, 0.3);
    expect(state.collections).toBe(times);
  }
});

test("IdleCollector leaves no timer behind", async () => {
  const { clock, collector, pass } = setUp();
  await pass(25, 1);
  collector[Symbol.dispose]();
  expect(clock.pending).toBe(0);
});

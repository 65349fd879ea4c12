import { expect, test } from "bun:test";
import { AbandonedCalls } from "../../../../lib/http/aws/wire/abandoned.ts";

let now = 0;
const clock = { monotonic: () => now };

test("an equal request is another attempt of a call that was given up, once", () => {
  const calls = new AbandonedCalls(clock);
  expect(calls.idFor("r", "1")).toBe("1");
  calls.left("r", "1");
  expect(calls.idFor("other", "2")).toBe("2");
  expect(calls.idFor("r", "3")).toBe("1");
  expect(calls.idFor("r", "4")).toBe("4");
});

test("nobody comes back after half a minute", () => {
  const calls = new AbandonedCalls(clock);
  calls.left("r", "1");
  now += 30_000;
  expect(calls.idFor("r", "2")).toBe("2");
});

test("a thousand are remembered, the latest", () => {
  const calls = new AbandonedCalls(clock);
  for (let i = 0; i <= 1_000; i++) calls.left(`r${i}`, String(i));
  expect(calls.idFor("r0", "own")).toBe("own");
  expect(calls.idFor("r1", "own")).toBe("1");
});

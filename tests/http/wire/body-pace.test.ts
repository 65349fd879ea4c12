import { describe, expect, test } from "bun:test";
import { BodyPace } from "../../../lib/http/wire/body-pace.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const STALL_MS = 60_000;

function begin() {
  const clock = new FakeClock();
  const pace = new BodyPace(clock, STALL_MS);
  let givenUp = 0;
  pace.start(() => givenUp++);
  return { clock, pace, givenUp: () => givenUp };
}

// D2
describe("BodyPace", () => {
  test("lets a body of 1.5 MB at 20 KB/s arrive", async () => {
    const { clock, pace, givenUp } = begin();
    for (let second = 0; second < 75; second++) {
      await clock.advance(1_000);
      pace.arrived(20_000);
    }
    pace.stop();
    await clock.advance(10 * STALL_MS);
    expect([givenUp(), pace.problem]).toEqual([0, undefined]);
  });

  test("lets a fast body pause, but not for as long as the stall time", async () => {
    const { clock, pace, givenUp } = begin();
    pace.arrived(1_000_000);
    await clock.advance(STALL_MS - 1);
    expect(givenUp()).toBe(0);
    pace.arrived(1);
    await clock.advance(STALL_MS - 1);
    expect(givenUp()).toBe(0);
    await clock.advance(1);
    expect(givenUp()).toBe(1);
    expect(pace.problem?.message).toBe(
      "The request body stopped arriving for 60 s: send it again, without such a pause",
    );
  });

  test.each([
    [999, 61],
    [500, 61],
    [1, 61],
  ])("gives up a body of %i bytes a second after %i s at most", async (rate, seconds) => {
    const { clock, pace, givenUp } = begin();
    for (let second = 0; second < seconds && givenUp() === 0; second++) {
      await clock.advance(1_000);
      pace.arrived(rate);
    }
    expect(givenUp()).toBe(1);
    expect(pace.problem).toMatchObject({
      reason: "request_timeout",
      message: "The request body arrived at less than 1000 bytes a second: send it faster",
    });
  });

  test("gives up a body whose rate falls below the least one later on", async () => {
    const { clock, pace, givenUp } = begin();
    pace.arrived(100_000);
    for (let second = 0; second < 99; second++) {
      await clock.advance(1_000);
      pace.arrived(1);
    }
    expect(givenUp()).toBe(0);
    await clock.advance(2_000);
    expect(givenUp()).toBe(1);
  });

  test("lets a body of 1,100 bytes a second arrive, however long it takes", async () => {
    const { clock, pace, givenUp } = begin();
    for (let second = 0; second < 600; second++) {
      await clock.advance(1_000);
      pace.arrived(1_100);
    }
    expect(givenUp()).toBe(0);
  });
});

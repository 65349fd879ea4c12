import { expect, test } from "bun:test";
import { calmLog } from "../lib/calm-log.ts";
import { FakeClock } from "./support/fake-clock.ts";
import { listeningLog } from "./store/sqlite/support/stores.ts";

test("calmLog leaves out a warning or an error that is the same as one of the last minute", async () => {
  const { log, events } = listeningLog();
  const clock = new FakeClock();
  const calm = calmLog(log, clock);
  const shown = () => events.splice(0).map(({ event }) => event);
  for (let seconds = 0; seconds < 61; seconds++) {
    calm.error("not written", { problem: "the disk is full" });
    await clock.advance(1_000);
  }
  expect(shown()).toEqual(["not written", "not written"]);
  calm.error("not written", { problem: "the database is away" });
  calm.warn("not counted", { problem: "the database is away" });
  calm.child({ part: "queue" }).warn("not counted", { problem: "the database is away" });
  expect(shown()).toEqual(["not written", "not counted", "not counted"]);
  for (let times = 0; times < 2; times++) {
    calm.info("done");
    calm.error("failed", { error: new Error("why") });
  }
  expect(shown()).toEqual(["done", "failed", "done", "failed"]);
});

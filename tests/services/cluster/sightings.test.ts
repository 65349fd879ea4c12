import { expect, test } from "bun:test";
import { Sightings } from "../../../lib/services/cluster/sightings.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";

test("Sightings logs a server that joins, leaves, is lost or comes back, each once", async () => {
  const { log, events } = listeningLog();
  const clock = new FakeClock();
  const sightings = new Sightings({ clock, log });
  const note = (...living: (readonly [id: string, living: boolean])[]) => {
    sightings.note(living.map(([id, isLiving]) => ({ id, living: isLiving })));
    return events.splice(0).map(({ event, server }) => [event, server]);
  };
  // There already, one of them dead for long.
  expect(note(["a", true], ["z", false])).toEqual([]);
  expect(note(["a", true], ["b", true], ["z", false])).toEqual([["another server has joined", "b"]]);
  expect(note(["a", true], ["b", false])).toEqual([]);
  // As after a time in which the database was away.
  expect(note(["a", true], ["b", true])).toEqual([]);
  const lost = "another server is lost: its attempts are made again when their leases have ended";
  const seen: unknown[] = [];
  for (let seconds = 0; seconds < 10; seconds += 2) {
    seen.push(...note(["a", true], ["b", false]));
    await clock.advance(2_000);
  }
  expect(seen).toEqual([[lost, "b"]]);
  expect(note(["a", true], ["b", true])).toEqual([["another server is back", "b"]]);
  expect(note(["b", true])).toEqual([["another server has left", "a"]]);
});

import { expect, test } from "bun:test";
import { OwnIds } from "../../../lib/services/images/own-ids.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";

const { log, events } = listeningLog();

function newOwnIds({ others = [] as readonly string[], isAway = false }) {
  const known = new Map<string, string>();
  return new OwnIds({
    store: {
      ownImageId: (id) => known.get(id),
      noteOwnImageId: async (id, ownId) => {
        if (isAway) throw new Error("the database is away");
        known.set(id, ownId);
      },
    },
    retention: () => ({ pausedDuring: (work) => work() }),
    elsewhere: () => others.map((id) => ({ id })),
    log,
  });
}

test("OwnIds.ownId is what was noted, or the id of functions", async () => {
  const ids = newOwnIds({});
  await ids.note("theirs", "ours");
  expect([ids.ownId("theirs"), ids.ownId("another")]).toEqual(["ours", "another"]);
});

test("OwnIds.note says in the log that an id could not be written, and goes on", async () => {
  const ids = newOwnIds({ isAway: true });
  await ids.note("theirs", "ours");
  expect(ids.ownId("theirs")).toBe("theirs");
  expect(events).toMatchObject([{ event: "cannot note the id of an image on this engine", own_id: "ours" }]);
});

test("OwnIds.localProblem names the servers with another engine, and says what to do", () => {
  expect(newOwnIds({}).localProblem("app:1")).toBeUndefined();
  expect(newOwnIds({ others: ["b", "c"] }).localProblem("app:1")).toBe(
    'Image "app:1" came from no registry, so the engines of other servers ("b", "c") cannot get it: push it to a registry that all servers reach, and give its name there',
  );
});

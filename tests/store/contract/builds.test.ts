import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Build, BuildListQuery } from "../../../lib/domain/builds/builds.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { someFunction, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";

const ALL: BuildListQuery = { name: null, status: null, before: Number.MAX_SAFE_INTEGER, limit: 100 };

const build = (id: string, fields: Partial<Build> = {}): Build => ({
  id,
  name: "app",
  status: "queued",
  image: null,
  image_id: null,
  step: null,
  reason: null,
  error: null,
  dockerfile: "Dockerfile",
  target: null,
  no_cache: false,
  pull: false,
  context_bytes: 10,
  created_at: timestamp(START),
  started_at: null,
  ended_at: null,
  ...fields,
});

describe.each(MAKERS)("BuildStore of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const ids = (query: Partial<BuildListQuery> = {}) =>
    store.builds.list({ ...ALL, ...query }).builds.map(({ id }) => id);

  test("put: adds a record, and replaces it without losing its place or its output", async () => {
    await store.builds.put(build("1"));
    await store.builds.put(build("2"));
    expect(store.builds.output("1")).toBeUndefined();
    const ended = build("1", { status: "failed", step: { number: 1, total: 2, instruction: "RUN x" } });
    await store.builds.put(ended, "output of 1");
    await store.builds.put(ended);
    expect(store.builds.get("1")).toEqual(ended);
    expect([store.builds.output("1"), store.builds.output("3")]).toEqual(["output of 1", undefined]);
    expect(store.builds.get("3")).toBeUndefined();
    expect(ids()).toEqual(["2", "1"]);
  });

  test("list: newest first, in pages, of a name and a status; unfinished: what has not ended", async () => {
    await store.builds.put(build("1", { status: "succeeded" }));
    await store.builds.put(build("2", { status: "running", name: "other" }));
    await store.builds.put(build("3"));
    expect(ids({ name: "app" })).toEqual(["3", "1"]);
    expect(ids({ status: "running" })).toEqual(["2"]);
    const page = store.builds.list({ ...ALL, limit: 2 });
    expect(page.builds.map(({ id }) => id)).toEqual(["3", "2"]);
    expect(ids({ before: Number(page.next_cursor) })).toEqual(["1"]);
    expect(store.builds.list({ ...ALL, limit: 3 }).next_cursor).toBeNull();
    expect(
      store.builds
        .unfinished()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(["2", "3"]);
  });

  test("prune: keeps the newest", async () => {
    for (const id of ["1", "2", "3", "4"]) await store.builds.put(build(id));
    await store.builds.prune(4);
    expect(ids()).toHaveLength(4);
    await store.builds.prune(2);
    expect(ids()).toEqual(["4", "3"]);
  });
});

describe.each(MAKERS)("PulledImageStore of $name", ({ open }) => {
  test("an image that is kept for a while is unneeded only after that", async () => {
    const clock = new FakeClock();
    await using store = await open(clock);
    const until = timestamp(clock.now() + 1_000);
    await store.pulledImages.record({ image_id: "sha256:1", brought: true, names: [] }, until);
    await store.pulledImages.record({ image_id: "sha256:2", brought: true, names: [] });
    const unneeded = () => store.pulledImages.unneeded(1).map(({ image_id }) => image_id);
    expect([unneeded(), store.pulledImages.keptUntil()]).toEqual([["sha256:2"], until]);
    await clock.advance(1_000);
    expect(unneeded().toSorted()).toEqual(["sha256:1", "sha256:2"]);
    expect(store.pulledImages.keptUntil()).toBeUndefined();
  });

  test("noteUsed: an image that a function needs is kept no longer than that", async () => {
    const clock = new FakeClock();
    await using store = await open(clock);
    await store.functions.insert(someFunction("f1", { image_id: "sha256:1" }));
    for (const image_id of ["sha256:1", "sha256:2"]) {
      await store.pulledImages.record({ image_id, brought: true, names: [] }, timestamp(clock.now() + 1_000));
    }
    await store.pulledImages.noteUsed(1);
    await store.functions.delete("f1", { cascade: false });
    expect(store.pulledImages.unneeded(1).map(({ image_id }) => image_id)).toEqual(["sha256:1"]);
  });
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Page, Position } from "../../../lib/domain/functions/pages.ts";
import { ROUTE_DEFAULTS } from "../../../lib/domain/routes/options.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { type Schedule, SCHEDULE_DEFAULTS } from "../../../lib/domain/schedules.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { retryStale, StaleError } from "../../../lib/store/errors.ts";
import type { SealedSecret } from "../../../lib/store/records.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf, someFunction, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { claimNext, newWork, success } from "./records.ts";

const NOW = timestamp(START);

function route(id: string, path: string, fn: Function, fields: Partial<Route> = {}): Route {
  return { ...ROUTE_DEFAULTS, id, path, function: fn, ...fields };
}

function secret(name: string, fields: Partial<SealedSecret> = {}): SealedSecret {
  return { name, value: "sealed", bytes: 1, created_at: NOW, updated_at: NOW, ...fields };
}

function schedule(id: string, fields: Partial<Schedule> = {}): Schedule {
  return {
    ...SCHEDULE_DEFAULTS,
    id,
    function_id: "f1",
    cron: "* * * * *",
    last_due: START,
    last_invocation_id: null,
    created_at: NOW,
    updated_at: NOW,
    ...fields,
  };
}

describe.each(MAKERS)("Configuration of $name", ({ open }) => {
  let store: Store;
  const f1 = someFunction("f1", { name: "one" });

  beforeEach(async () => {
    store = await open(new FakeClock());
    await store.functions.insert(f1);
  });
  afterEach(() => store[Symbol.asyncDispose]());

  test("functions and routes: pages are the list in pieces, also of records made at the same time or deleted meanwhile", async () => {
    for (let n = 0; n < 7; n++) {
      const fn = someFunction(`p${n}`, { created_at: timestamp(START + Math.floor(n / 4)) });
      await store.functions.insert(fn);
      await store.routes.insert(route(`r${n}`, `/${6 - n}`, fn));
    }
    for (const table of [store.functions, store.routes]) {
      for (const limit of [1, 2, 3, 7, 8, 500]) {
        const found: object[] = [];
        let after: Position | null = { created_at: "", place: 0 };
        while (after !== null) {
          const page: Page<object> = await table.page({ after, limit });
          expect(page.records.length).toBeWithin(1, limit + 1);
          found.push(...page.records);
          after = page.last;
        }
        expect(found).toEqual(table.list());
        expect(await table.all()).toEqual(table.list());
      }
    }
    const first = await store.routes.page({ after: { created_at: "", place: 0 }, limit: 3 });
    await store.routes.delete("r2");
    const next = await store.routes.page({ after: first.last ?? { created_at: "", place: 0 }, limit: 3 });
    expect([...first.records, ...next.records].map(({ id }) => id)).toEqual(["r0", "r1", "r2", "r3", "r4", "r5"]);
  });

  test("functions: one of a hundred concurrent ones with the same name is stored, and the others conflict", async () => {
    const all = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) => store.functions.insert(someFunction(`n${i}`, { name: "same" }))),
    );
    const refused = all.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
    expect(refused).toHaveLength(99);
    for (const error of refused) expect(error).toMatchObject({ reason: "conflict" });
    expect(store.functions.count()).toBe(2);
    expect(store.functions.find("same")?.id).toBe("n0");
  });

  test("functions: replace is refused if the record has changed since it was read", async () => {
    await store.functions.replace(f1, { ...f1, timeout_ms: 5_000 });
    expect(await rejectionOf(store.functions.replace(f1, { ...f1, timeout_ms: 7_000 }))).toBeInstanceOf(StaleError);
    expect(store.functions.get("f1")?.timeout_ms).toBe(5_000);
    const gone = someFunction("gone");
    expect(await rejectionOf(store.functions.replace(gone, gone))).toBeInstanceOf(StaleError);
  });

  test("functions: twenty concurrent changes are all made", async () => {
    const change = () =>
      retryStale(async () => {
        const before = store.functions.get("f1") ?? f1;
        await store.functions.replace(before, { ...before, timeout_ms: before.timeout_ms + 1 });
      });
    await Promise.all(Array.from({ length: 20 }, change));
    expect(store.functions.get("f1")?.timeout_ms).toBe(f1.timeout_ms + 20);
  });

  test("functions: changes of the latest record are made in one round; one that fails takes those after it along", async () => {
    const change = async (changes: Partial<Function>) => {
      const before = store.functions.latest("f1") ?? f1;
      await store.functions.replace(before, { ...before, ...changes, pids: before.pids + 1 });
    };
    await Promise.all(Array.from({ length: 20 }, () => change({})));
    expect(store.functions.get("f1")?.pids).toBe(f1.pids + 20);
    await store.functions.insert({ ...someFunction("f9"), name: "taken" });
    const outcomes = await Promise.allSettled([change({ cpus: 2 }), change({ name: "taken" }), change({ cpus: 3 })]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(outcomes[2]).toMatchObject({ reason: expect.any(StaleError) });
    expect(store.functions.get("f1")).toMatchObject({ cpus: 2, pids: f1.pids + 21 });
    expect(store.functions.latest("f1")).toEqual(store.functions.get("f1"));
  });

  test("functions: deleting one that is used conflicts, and cascade takes its routes", async () => {
    await store.routes.insert(route("r1", "/a", f1));
    expect(await rejectionOf(store.functions.delete("f1", { cascade: false }))).toMatchObject({ reason: "conflict" });
    expect(await store.functions.delete("f1", { cascade: true })).toEqual(f1);
    expect(await store.functions.delete("f1", { cascade: true })).toBeUndefined();
    expect([store.routes.match("/a"), store.routes.list()]).toEqual([undefined, []]);
  });

  test("a write is refused if anything that it is based on has changed", async () => {
    const { revision } = store;
    await store.secrets.put(secret("other"));
    const writes = [
      () => store.functions.insert(someFunction("f2"), { revision }),
      () => store.functions.replace(f1, { ...f1, timeout_ms: 1 }, { revision }),
      () => store.routes.insert(route("r1", "/a", f1), { revision }),
      () => store.secrets.put(secret("s"), { revision }),
      () => store.applyManifest({ functions: [], routes: [] }, { revision, dry_run: false }),
    ];
    for (const write of writes) expect(await rejectionOf(write())).toBeInstanceOf(StaleError);
    expect([store.functions.count(), store.routes.count(), store.secrets.count()]).toEqual([1, 0, 1]);
    for (const write of writes.slice(0, 1)) expect(await rejectionOf(write())).toBeInstanceOf(StaleError);
    await store.functions.insert(someFunction("f2"), { revision: store.revision });
  });

  test("reads see a write when it has settled, and not before", async () => {
    const written = store.functions.replace(f1, { ...f1, name: "other" });
    expect([store.functions.find("one")?.id, store.functions.find("other")]).toEqual(["f1", undefined]);
    await written;
    expect([store.functions.find("one"), store.functions.find("other")?.id]).toEqual([undefined, "f1"]);
  });

  test("versions: every one is kept with its change, and those that routes name are in memory", async () => {
    const second = { ...f1, timeout_ms: 5_000, version: 2 };
    await store.functions.replace(f1, second);
    expect((await store.versions.list("f1", { below: 10, limit: 10 })).map(({ version }) => version)).toEqual([2, 1]);
    expect(await store.versions.find("f1", 1)).toEqual(f1);
    expect(await store.versions.find("f1", 3)).toBeUndefined();
    await store.routes.insert(route("r1", "/a", second, { version: 1 }));
    expect([store.versions.named("f1"), store.versions.allNamed()]).toEqual([[1], [{ id: "f1", version: 1 }]]);
    expect(store.versions.get("f1", 1)).toEqual(f1);
  });

  test("versions: an unknown image is added once", async () => {
    const known = { id: "f2", version: 1, image_id: "sha256:7", digest: "busybox@sha256:8" };
    await store.functions.insert(someFunction("f2", { image_id: null }));
    await store.versions.complete(known);
    await store.versions.complete({ ...known, image_id: "sha256:9" });
    expect(await store.versions.find("f2", 1)).toMatchObject({ image_id: "sha256:7" });
  });

  test("functions: an image gets another id wherever its digest is the same, without a new version", async () => {
    const before = "sha256:before";
    const known = { image_id: before, digest: "app@sha256:1" };
    const fn = someFunction("old", known);
    await store.functions.insert(fn);
    await store.functions.replace(fn, { ...fn, version: 2, image_id: "sha256:2", digest: "app@sha256:2" });
    await store.functions.insert(someFunction("now", known));
    const other = someFunction("other", { image_id: before, digest: null });
    await store.functions.insert(other);
    const renamed = { digest: known.digest, before, image_id: "sha256:after" };
    const changed = await store.functions.renameImage(renamed);
    expect(
      changed
        .map(({ id, version, image_id }) => [id, version, image_id])
        .toSorted(([a = ""], [b = ""]) => String(a).localeCompare(String(b))),
    ).toEqual([
      ["now", 1, "sha256:after"],
      ["old", 2, "sha256:2"],
    ]);
    expect(store.functions.get("now")).toMatchObject({ image_id: "sha256:after", digest: known.digest, version: 1 });
    expect(await store.versions.find("old", 1)).toMatchObject({ image_id: "sha256:after", digest: known.digest });
    expect(store.functions.get("other")).toEqual(other);
    expect(await store.functions.renameImage(renamed)).toEqual([]);
    // One from no registry has no digest, and is as much the same.
    await store.functions.renameImage({ digest: null, before, image_id: "sha256:local" });
    expect(store.functions.get("other")).toMatchObject({ image_id: "sha256:local", digest: null, version: 1 });
    expect(await store.versions.find("other", 1)).toMatchObject({ image_id: "sha256:local", digest: null });
    expect(store.functions.get("now")).toMatchObject({ image_id: "sha256:after" });
  });

  test("routes: a path is taken once, and a function must exist", async () => {
    const paths = Array.from({ length: 100 }, (_, i) => store.routes.insert(route(`r${i}`, "/a", f1)));
    const all = await Promise.allSettled(paths);
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await rejectionOf(store.routes.insert(route("x", "/a", f1)))).toMatchObject({ reason: "conflict" });
    const gone = route("x", "/b", someFunction("gone"));
    expect(await rejectionOf(store.routes.insert(gone))).toMatchObject({ reason: "not_found" });
    const r0 = store.routes.get("r0");
    if (r0 === undefined) throw new Error("no route");
    await store.routes.replace(r0, { ...r0, path: "/z/*" });
    expect(await rejectionOf(store.routes.replace(r0, r0))).toBeInstanceOf(StaleError);
    expect(store.routes.match("/z/x")).toMatchObject({ route: { id: "r0" }, path_rest: "x" });
    expect([store.routes.match("/a"), store.routes.getByPath("/z/*")?.id]).toEqual([undefined, "r0"]);
    expect((await store.routes.delete("r0"))?.path).toBe("/z/*");
    expect(await store.routes.delete("r0")).toBeUndefined();
  });

  test("secrets: keep created_at, and cannot be deleted while they are used", async () => {
    const later = timestamp(START + 1);
    expect(await store.secrets.put(secret("s"))).toEqual({ before: undefined, after: secret("s") });
    const changed = await store.secrets.put(secret("s", { value: "other", created_at: later, updated_at: later }));
    expect(changed.after).toEqual(secret("s", { value: "other", updated_at: later }));
    expect(store.secrets.get("s")).toEqual(changed.after);
    await store.functions.replace(f1, { ...f1, secrets: [{ name: "s", environment: null }] });
    expect(store.secrets.users("s")).toEqual([{ id: "f1", name: "one" }]);
    expect(await rejectionOf(store.secrets.delete("s", { force: false }))).toMatchObject({ reason: "conflict" });
    expect(await store.secrets.delete("s", { force: true })).toMatchObject({ name: "s" });
    expect([store.secrets.get("s"), store.secrets.anythingSealed()]).toEqual([undefined, false]);
  });

  test("registries: are stored together, listed without secrets, and deleted once", async () => {
    const times = { checked_at: null, created_at: NOW, updated_at: NOW };
    const credentials = { kind: "password", username: "u", secret: "sealed", ...times } as const;
    const stored = await store.registries.put(["a", "b"].map((host) => ({ host, ...credentials })));
    expect(stored.map(({ before, after }) => [before, after.host])).toEqual([
      [undefined, "a"],
      [undefined, "b"],
    ]);
    expect([store.registries.get("a")?.secret, store.registries.count()]).toEqual(["sealed", 2]);
    expect(JSON.stringify(store.registries.list())).not.toContain("sealed");
    expect((await store.registries.delete("a"))?.host).toBe("a");
    expect(await store.registries.delete("a")).toBeUndefined();
  });

  test("keys: are found by their hash until they are forgotten after being revoked", async () => {
    const times = { created_at: NOW, expires_at: null, last_used_at: null, revoked_at: null };
    const key = { id: "k1", name: "ci", scopes: ["deploy" as const], function_id: "f1", ...times };
    await store.keys.insert({ key, hash: "h1" });
    expect(store.keys.findByHash("h1")).toEqual({ key, hash: "h1" });
    await store.keys.noteUses([["k1", NOW]]);
    expect(store.keys.get("k1")?.last_used_at).toBe(NOW);
    const later = timestamp(START + 1);
    expect((await store.keys.revoke("k1", NOW))?.revoked_at).toBe(NOW);
    expect((await store.keys.revoke("k1", later))?.revoked_at).toBe(NOW);
    expect(await store.keys.revoke("k2", NOW)).toBeUndefined();
    await store.keys.forgetDead(later);
    expect([store.keys.findByHash("h1"), store.keys.count(), store.keys.list()]).toEqual([undefined, 0, []]);
  });

  test("schedules: queue each run once, however many ask for it, and note it in the same transaction", async () => {
    const before = schedule("s1", { overlap: "queue" });
    await store.schedules.insert(before);
    const runs = (by: string) => [newWork(`${by}-1`), newWork(`${by}-2`)];
    const all = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) =>
        store.ledger.submitScheduled({ before, last_due: START + 60_000, runs: runs(`n${i}`) }),
      ),
    );
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const end of all) if (end.status === "rejected") expect(end.reason).toBeInstanceOf(StaleError);
    expect(await store.ledger.count()).toBe(2);
    expect(store.schedules.get("s1")).toEqual({
      ...before,
      last_due: START + 60_000,
      last_invocation_id: "n0-2",
    });
  });

  test("schedules: skip a run while the last one has not ended", async () => {
    const first = schedule("s1");
    await store.schedules.insert(first);
    const submit = (before: Schedule, ...ids: readonly string[]) => {
      const runs = ids.map((id) => newWork(id));
      return store.ledger.submitScheduled({ before, last_due: before.last_due + 60_000, runs });
    };
    const one = await submit(first, "a", "b");
    expect([one.queued.map(({ id }) => id), one.left_out.length]).toEqual([["a"], 1]);
    const two = await submit(one.schedule, "c");
    expect([two.queued, two.schedule.last_invocation_id]).toEqual([[], "a"]);
    const claimed = await claimNext(store.ledger, "f1", { now: START, until: START + 1 });
    if (claimed !== null) await store.ledger.end(success(claimed));
    expect((await submit(two.schedule, "d")).queued.map(({ id }) => id)).toEqual(["d"]);
  });

  test("schedules: are deleted with their function, and cannot be made for a deleted one", async () => {
    await store.schedules.insert(schedule("s1"));
    await store.schedules.replace(schedule("s1"), schedule("s1", { paused: true }));
    expect(await rejectionOf(store.schedules.replace(schedule("s1"), schedule("s1")))).toBeInstanceOf(StaleError);
    const orphan = schedule("s2", { function_id: "gone" });
    expect(await rejectionOf(store.schedules.insert(orphan))).toMatchObject({ reason: "not_found" });
    await store.functions.delete("f1", { cascade: false });
    expect([store.schedules.list(), store.schedules.count()]).toEqual([[], 0]);
    expect(await store.schedules.delete("s1")).toBeUndefined();
  });

  test("settings: are stored, and callback secrets are replaced only if they are as they were read", async () => {
    const owner = await store.settings.ownerId();
    expect(await store.settings.ownerId()).toBe(owner);
    expect([store.settings.apiKeyHash(), store.settings.secretKeyFingerprint()]).toEqual([null, null]);
    await store.settings.setApiKeyHash("hash");
    await store.settings.setSecretKeyFingerprint("print");
    expect([store.settings.apiKeyHash(), store.settings.secretKeyFingerprint()]).toEqual(["hash", "print"]);
    expect(store.settings.endedLogins()).toBeNull();
    await store.settings.changeEndedLogins((before) => `${before}, one`);
    await store.settings.changeEndedLogins((before) => `${before}, two`);
    expect(store.settings.endedLogins()).toBe("null, one, two");
    const made = await Promise.allSettled(
      ["one", "two"].map((value) => store.settings.replaceCallbackSecrets(null, value)),
    );
    expect(made.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(store.settings.callbackSecrets()).toBe("one");
  });

  test("pulled images: are known until they are deleted, and needed while functions run them", async () => {
    const names = [{ name: "app:1", created: true }];
    await store.pulledImages.record({ image_id: "sha256:1", brought: true, names });
    await store.pulledImages.record({ image_id: "sha256:2", brought: true, names: [] });
    expect(store.pulledImages.list()).toEqual([
      { image_id: "sha256:1", names: ["app:1"] },
      { image_id: "sha256:2", names: [] },
    ]);
    expect([store.pulledImages.isNeeded("sha256:1", 1), store.pulledImages.isNeeded("sha256:2", 1)]).toEqual([
      true,
      false,
    ]);
    expect(store.pulledImages.unneeded(1).map(({ image_id }) => image_id)).toEqual(["sha256:2"]);
    expect([store.pulledImages.get("sha256:1")?.names, store.pulledImages.get("sha256:3")]).toEqual([
      ["app:1"],
      undefined,
    ]);
    await store.pulledImages.delete("sha256:2");
    expect(store.pulledImages.list()).toHaveLength(1);
  });

  test("ownImageId: is the id on this engine, by which a pulled image is needed, until no version has the other one", async () => {
    const { image_id } = store.functions.list()[0] ?? {};
    if (typeof image_id !== "string") throw new Error("there is no function with an image");
    await store.pulledImages.record({ image_id: "own 1", brought: true, names: [] });
    const isNeeded = () => [store.pulledImages.isNeeded("own 1", 1), store.pulledImages.unneeded(1).length === 0];
    expect([store.settings.ownImageId(image_id), ...isNeeded()]).toEqual([undefined, false, false]);
    await store.settings.noteOwnImageId(image_id, "own 1");
    expect([store.settings.ownImageId(image_id), ...isNeeded()]).toEqual(["own 1", true, true]);
    await store.settings.noteOwnImageId("of no version", "own 2");
    expect(store.settings.ownImageId("of no version")).toBe("own 2");
    await store.settings.noteOwnImageId(image_id, "own 3");
    expect(["of no version", image_id].map((id) => store.settings.ownImageId(id))).toEqual([undefined, "own 3"]);
    expect(isNeeded()).toEqual([false, false]);
  });

  test("applyManifest: writes everything, or nothing", async () => {
    await store.functions.insert(someFunction("old"));
    const f2 = someFunction("f2", { name: "two" });
    const writes = {
      functions: [
        { name: "two", after: f2 },
        { name: "one", before: f1, after: { ...f1, timeout_ms: 5_000, version: 2 } },
        { name: "old", before: someFunction("old") },
      ],
      routes: [{ name: "/two", after: route("r2", "/two", f2) }],
    };
    await store.applyManifest(writes, { revision: store.revision, dry_run: true });
    const ids = () => store.functions.list().map(({ id }) => id);
    expect([ids(), store.routes.list()]).toEqual([["f1", "old"], []]);
    await store.applyManifest(writes, { revision: store.revision, dry_run: false });
    expect([ids(), store.routes.match("/two")?.route.function.id]).toEqual([["f1", "f2"], "f2"]);
    expect(store.functions.get("f1")?.timeout_ms).toBe(5_000);
    const clash = {
      functions: [{ name: "three", after: someFunction("f3", { name: "three" }) }],
      routes: [{ name: "/two", after: route("r3", "/two", f2) }],
    };
    for (const dry_run of [true, false]) {
      const refused = store.applyManifest(clash, { revision: store.revision, dry_run });
      expect(await rejectionOf(refused)).toMatchObject({
        reason: "conflict",
        message: expect.stringContaining('Route "/two": '),
      });
    }
    expect(ids()).toEqual(["f1", "f2"]);
  });

  test("check: settles while the database can be read", async () => {
    expect(await store.check()).toBeUndefined();
  });
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Build } from "../../../lib/domain/builds/builds.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { BUILDS_WAITING } from "../../../lib/domain/limits.ts";
import type { Pulled } from "../../../lib/domain/images/pulled-images.ts";
import type { BuildOrder, BuildResult, BuildTimes, BuildWatcher } from "../../../lib/runner/platform.ts";
import { BuildService } from "../../../lib/services/builds/builds.ts";
import { ContextFiles } from "../../../lib/services/builds/context-files.ts";
import { Leftovers } from "../../../lib/services/builds/leftovers.ts";
import type { BuildEvent } from "../../../lib/services/builds/running-build.ts";
import { systemClock } from "../../../lib/clock.ts";
import { listeningLog, newStore } from "../../store/sqlite/support/stores.ts";
import { eventually } from "../../support/pace.ts";

/** A build that the stand-in for the engine was given, with what ends it. */
interface Begun extends BuildOrder {
  readonly watcher: BuildWatcher;
  readonly finish: (result: BuildResult) => void;
  readonly fail: (error: unknown) => void;
}

const REQUEST = { name: "app", dockerfile: "Dockerfile", target: null, build_args: {}, no_cache: false, pull: false };
const TIMEOUT_MS = 60_000;

let directory: string;
let store: ReturnType<typeof newStore>;
let begun: Begun[];
let discarded: string[];
let built: Pulled[];
let sweeps: number;
/** The parts of its cache that the engine was to remove. */
let trimmed: { readonly builds: readonly BuildTimes[]; readonly unusedSince: number }[];
/** Names that earlier builds gave images. */
let known: Record<string, string[]>;
let service: BuildService;

function create(options: { readonly timeout_ms?: number; readonly at_once?: number } = {}): BuildService {
  const { log } = listeningLog();
  const builder = {
    build: (order: BuildOrder, watcher: BuildWatcher) => {
      const { promise, resolve, reject } = Promise.withResolvers<BuildResult>();
      begun.push({ ...order, watcher, finish: resolve, fail: reject });
      order.signal.addEventListener("abort", () => reject(order.signal.reason));
      return promise;
    },
    discard: async (image: string) => void discarded.push(image),
    sweep: async () => ++sweeps > 0,
    removeUnusedCache: async (builds: readonly BuildTimes[], unusedSince: number) =>
      void trimmed.push({ builds, unusedSince }),
  };
  const clock = systemClock;
  const leftovers = new Leftovers({ builder, times: () => made.times(), isBusy: () => made.isBusy, clock, log });
  const made: BuildService = new BuildService({
    store: store.builds,
    builder,
    retention: {
      holding: (work) => work(),
      built: async (image) => void built.push(image),
      namesOf: (id) => known[id] ?? [],
    },
    files: new ContextFiles(join(directory, "builds")),
    leftovers,
    timeout_ms: TIMEOUT_MS,
    at_once: 2,
    clock,
    log,
    ...options,
  });
  return made;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-builds-"));
  store = newStore(":memory:", systemClock);
  [begun, discarded, built, sweeps, trimmed, known] = [[], [], [], 0, [], {}];
  service = create();
});

afterEach(async () => {
  await service[Symbol.asyncDispose]();
  store[Symbol.dispose]();
  await rm(directory, { recursive: true });
});

async function submit(name = "app"): Promise<Build> {
  await using arrival = await service.receive({ ...REQUEST, name });
  await arrival.file.write(Buffer.from("a context"));
  return await arrival.submit();
}

/** Waits until a build has begun, and returns it. */
async function nth(index: number): Promise<Begun> {
  await eventually(() => begun.length > index);
  const found = begun[index];
  if (found === undefined) throw new Error(`no build ${index} has begun`);
  return found;
}

/** Returns all events of a build from a position, to its end. */
function eventsOf(id: string, position = 0): { readonly events: BuildEvent[]; readonly ended: Promise<Build> } {
  const events: BuildEvent[] = [];
  const { promise, resolve } = Promise.withResolvers<Build>();
  service.follow(id, position, (event) => {
    events.push(event);
    if (event.type === "state" && event.build.ended_at !== null) resolve(event.build);
  });
  return { events, ended: promise };
}

const files = () => (existsSync(join(directory, "builds")) ? readdirSync(join(directory, "builds")) : []);

describe("BuildService", () => {
  test("builds, passes on what is printed, records the end and removes the context", async () => {
    const { id, status, context_bytes } = await submit();
    expect([status, context_bytes]).toEqual(["queued", 9]);
    const { events, ended } = eventsOf(id);
    const build = await nth(0);
    expect(await Bun.file(build.context).text()).toBe("a context");
    build.watcher.onStep({ number: 1, total: 1, instruction: "RUN x" });
    const listed = service.list({ name: "app", status: null, before: Number.MAX_SAFE_INTEGER, limit: 1 });
    expect(listed.builds[0]?.step).toEqual({ number: 1, total: 1, instruction: "RUN x" });
    build.watcher.onText("hello\n");
    build.finish({ image_id: "sha256:1", names: [build.image, "slipway.local/app@sha256:1"] });
    const record = await ended;
    expect(record).toMatchObject({
      status: "succeeded",
      image: build.image,
      image_id: "sha256:1",
      step: { number: 1 },
    });
    expect(build.image).toBe(`slipway.local/app:${id.replaceAll("-", "").slice(0, 16)}`);
    expect(built).toEqual([
      {
        image_id: "sha256:1",
        brought: true,
        names: [build.image, "slipway.local/app@sha256:1"].map((name) => ({ name, created: true })),
      },
    ]);
    const told = events.map((event) => (event.type === "log" ? event.text : event.build.status));
    expect(told.slice(-3)).toEqual(["running", "hello\n", "succeeded"]);
    await eventually(() => files().length === 0);
    expect([service.get(id), files()]).toEqual([record, []]);
    // After the end, the store has it all.
    const later = eventsOf(id, 2);
    expect(later.events).toEqual([
      { type: "log", text: "llo\n", position: 6 },
      { type: "state", build: record },
    ]);
    expect(await eventually(() => sweeps === 1 && trimmed.length === 1)).toBe(true);
    // Only what this build may have left, and was not used for a day.
    const [from, to] = [Date.parse(record.started_at ?? ""), Date.parse(record.ended_at ?? "")];
    expect(trimmed[0]?.builds).toEqual([{ from, to }]);
    expect(Date.now() - (trimmed[0]?.unusedSince ?? 0)).toBeGreaterThanOrEqual(24 * 3_600_000);
  });

  test("gives an image that was built before its earlier name", async () => {
    known["sha256:1"] = ["slipway.local/app:1", "slipway.local/other:1"];
    const { id } = await submit();
    const { image, finish } = await nth(0);
    const { ended } = eventsOf(id);
    finish({ image_id: "sha256:1", names: [image, "slipway.local/other:1", "slipway.local/app:1"] });
    expect((await ended).image).toBe("slipway.local/app:1");
    expect(discarded).toEqual([image]);
    expect(built[0]?.names.map(({ name }) => name)).toEqual(["slipway.local/other:1", "slipway.local/app:1"]);
  });

  test("records why a build has failed", async () => {
    const one = await submit();
    const [first, { ended }] = [await nth(0), eventsOf(one.id)];
    first.finish({ reason: "build_failed", error: "the command returned 3" });
    expect(await ended).toMatchObject({
      status: "failed",
      reason: "build_failed",
      error: "the command returned 3",
      image: null,
    });
    for (const [error, reason] of [
      [new AppError("engine_unavailable", "the engine is gone"), "engine_unavailable"],
      [new Error("a secret path"), "internal"],
    ] as const) {
      const count = begun.length;
      const { id } = await submit();
      const end = eventsOf(id).ended;
      (await nth(count)).fail(error);
      const record = await end;
      expect([record.reason, record.error?.includes("secret")]).toEqual([reason, false]);
    }
  });

  test("runs so many at once, in order", async () => {
    for (let i = 0; i < 4; i++) await submit(`app-${i}`);
    await nth(1);
    expect(begun.map(({ request }) => request.name)).toEqual(["app-0", "app-1"]);
    begun[1]?.finish({ reason: "build_failed", error: "x" });
    expect((await nth(2)).request.name).toBe("app-2");
    expect(begun).toHaveLength(3);
  });

  test("refuses builds when too many wait, counting contexts that arrive", async () => {
    for (let i = 0; i < 2; i++) await submit();
    await nth(1);
    for (let i = 0; i < BUILDS_WAITING - 1; i++) await submit();
    const arrival = await service.receive(REQUEST);
    const refused = await service.receive(REQUEST).catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: "too_many_requests", retry_after_s: 10 });
    await arrival[Symbol.asyncDispose]();
    await (await service.receive(REQUEST))[Symbol.asyncDispose]();
    expect(files()).toHaveLength(BUILDS_WAITING + 1);
  });

  test("cancels a build that runs, and one that waits", async () => {
    service = create({ at_once: 1 });
    const [running, waiting] = [await submit(), await submit()];
    const { signal } = await nth(0);
    expect(await service.cancel(waiting.id)).toMatchObject({ status: "cancelled", started_at: null });
    expect(await service.cancel(running.id)).toMatchObject({ status: "cancelled", reason: null, error: null });
    expect([signal.aborted, begun.length]).toEqual([true, 1]);
    expect(await service.cancel(running.id).catch((error: unknown) => error)).toMatchObject({ reason: "conflict" });
    expect(await service.cancel("none").catch((error: unknown) => error)).toMatchObject({ reason: "not_found" });
    await eventually(() => files().length === 0);
    expect(files()).toEqual([]);
  });

  test("ends a build that takes too long", async () => {
    service = create({ timeout_ms: 20 });
    const { id } = await submit();
    expect(await eventsOf(id).ended).toMatchObject({ status: "failed", reason: "build_timeout" });
  });

  test("ends all builds when the server stops, and takes no more", async () => {
    service = create({ at_once: 1 });
    const [running, waiting] = [await submit(), await submit()];
    await nth(0);
    await service.drain(0);
    expect(store.builds.get(waiting.id)).toMatchObject({ status: "failed", reason: "shutting_down" });
    expect(await service.receive(REQUEST).catch((error: unknown) => error)).toMatchObject({ reason: "shutting_down" });
    await service[Symbol.asyncDispose]();
    expect(store.builds.get(running.id)).toMatchObject({ status: "failed", reason: "shutting_down" });
  });

  test("ends the records of builds whose server was killed, and discards what they have made", async () => {
    const { id } = await submit();
    const { image } = await nth(0);
    const next = create();
    await next.prepare();
    expect(store.builds.get(id)).toMatchObject({ status: "failed", reason: "shutting_down" });
    expect(files()).toEqual([]);
    next.start();
    expect(await eventually(() => discarded.length > 0 && sweeps > 0)).toBe(true);
    expect(discarded).toEqual([image]);
    await next[Symbol.asyncDispose]();
  });
});

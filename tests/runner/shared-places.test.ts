import { beforeEach, expect, test } from "bun:test";
import { AppError } from "../../lib/domain/errors.ts";
import { type PlaceKeeper, type SharedPlace, SharedPlaces } from "../../lib/runner/shared-places.ts";
import { FakeClock, settled } from "../support/fake-clock.ts";

/** The places of one function, as the database has them. */
class Shared {
  readonly had = new Map<string, number>();
  readonly servers = new Map<string, SharedPlaces>();
  readonly clock = new FakeClock();
  isAway = false;
  /** True if news gets lost. */
  isSilent = false;

  server(id: string, queue = 10): SharedPlaces {
    const keeper: PlaceKeeper = {
      set: async (_, { places, most }) => {
        await settled();
        if (this.isAway) throw new AppError("database_unavailable", "away");
        const others = [...this.had].reduce((sum, [other, n]) => (other === id ? sum : sum + n), 0);
        const given = Math.max(0, Math.min(places, Math.max(this.had.get(id) ?? 0, most - others)));
        this.had.set(id, given);
        return given;
      },
      shareOf: (most) => Math.floor(most / 2),
      tell: (news, functionId) => {
        for (const [other, places] of this.servers) if (other !== id && !this.isSilent) places[news]([functionId]);
      },
    };
    const server = new SharedPlaces(keeper, { queue, clock: this.clock });
    this.servers.set(id, server);
    return server;
  }
}

const fn = { id: "f", max_concurrency: 2, timeout_ms: 1_000 };
const never = new AbortController().signal;

let shared: Shared;
let a: SharedPlaces;
let b: SharedPlaces;
beforeEach(() => {
  shared = new Shared();
  a = shared.server("a");
  b = shared.server("b");
});

/** Lets all questions be answered that follow from each other. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 10; turns++) await shared.clock.advance(0);
}

/** Begins a call, and returns what says whether it has its place. */
function call(server: SharedPlaces) {
  const calls: { place?: SharedPlace; error?: unknown } = {};
  server.enter(fn, never).then(
    (place) => (calls.place = place),
    (error: unknown) => (calls.error = error),
  );
  return calls;
}

test("calls of all servers have as many places as there are, and the next one waits until any is given back", async () => {
  const [first, second, third] = [call(a), call(b), call(b)];
  await settle();
  expect([first.place, second.place, third.place].map((place) => place !== undefined)).toEqual([true, true, false]);
  first.place?.();
  first.place?.();
  await settle();
  expect(third.place).toBeDefined();
});

test("a place that news was not had of is found within a second", async () => {
  shared.isSilent = true;
  const [first, second, third] = [call(a), call(a), call(b)];
  await settle();
  first.place?.();
  await shared.clock.advance(1_000);
  expect([second.place, third.place]).not.toContain(undefined);
});

test("a server whose own calls wait leaves a place to another one that waits", async () => {
  const own = [call(a), call(a)];
  await settle();
  own.push(call(a), call(a), call(a));
  const other = call(b);
  await settle();
  own[0]?.place?.();
  await settle();
  expect(other.place).toBeDefined();
});

test("reserve: leaves a quarter of the places, and one that is not used is given back", async () => {
  const wide = { ...fn, max_concurrency: 4 };
  const reserved = await Promise.all([a, b, a, b].map((server) => server.reserve(wide, 1)));
  expect(reserved.flat()).toHaveLength(3);
  for (const place of reserved.flat()) place();
  await shared.clock.advance(1_000);
  expect([...shared.had.values()]).toEqual([0, 0]);
});

test("reserve: several at once, as many as there are, and those that are given back are another server's", async () => {
  const wide = { ...fn, max_concurrency: 4 };
  const many = await a.reserve(wide, 20);
  expect([many.length, (await b.reserve(wide, 2)).length]).toEqual([3, 0]);
  for (const place of many.slice(1)) place();
  await settle();
  expect(await b.reserve(wide, 20)).toHaveLength(2);
  expect([...shared.had.values()]).toEqual([1, 2]);
});

test("while nobody can be asked each server has its share, and none reserves", async () => {
  shared.isAway = true;
  const calls = [call(a), call(a), call(b), call(b)];
  await settle();
  expect(calls.map(({ place }) => place !== undefined)).toEqual([true, false, true, false]);
  expect(await a.reserve(fn, 1)).toEqual([]);
  shared.isAway = false;
  for (const { place } of calls) place?.();
  await shared.clock.advance(1_000);
  expect(calls.map(({ place }) => place !== undefined)).toEqual([true, true, true, true]);
  expect([...shared.had.values()]).toEqual([1, 1]);
});

test("enter: refuses calls beyond the queue, and forgets those that give up", async () => {
  const small = shared.server("c", 1);
  const calls = [call(small), call(small)];
  await settle();
  const given = new AbortController();
  const waiting = small.enter(fn, given.signal).catch((error: unknown) => error);
  expect(small.waiting).toBe(1);
  expect(await small.enter(fn, never).catch((error: unknown) => error)).toMatchObject({ reason: "too_many_requests" });
  given.abort("gave up");
  expect([await waiting, small.waiting]).toEqual(["gave up", 0]);
  for (const { place } of calls) place?.();
  await shared.clock.advance(1_000);
  expect(shared.had.get("c")).toBe(0);
});

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Claimed, PendingWork } from "../../../lib/store/ledger.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { START } from "../sqlite/support/stores.ts";
import { LedgerModel } from "./ledger-model.ts";
import { MAKERS } from "./makers.ts";
import { again, cancelled, LEASE_MS, newWork, success } from "./records.ts";

const FUNCTIONS = ["f1", "f2", "f3"] as const;
const KEYS = [undefined, "k1", "k2"] as const;
const DELAYS = [0, 0, 1_000, 20_000] as const;
const STEPS = [0, 1, 1_000, 40_000] as const;

/** A ledger, its model, and every attempt that was ever begun, including stale ones. */
class Pair {
  readonly model = new LedgerModel();
  readonly #store: Store;
  #attempts: Claimed[] = [];
  #now = START;
  #ids = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  async submit(n: number, m: number): Promise<void> {
    const id = `i${String(this.#ids++).padStart(4, "0")}`;
    const fields = { function_id: pick(FUNCTIONS, n), priority: (m % 3) - 1, due: this.#now + pick(DELAYS, m) };
    const key = pick(KEYS, n + m);
    const hash = m % 5 === 0 ? "other" : "same";
    const work = newWork(id, { ...fields, at: this.#now, callback_url: "https://example.com/" });
    const given = key === undefined ? undefined : { key, request_hash: hash, now: this.#now };
    const taken = await this.#store.ledger.submit(work, given).then(
      ({ invocation }) => invocation.id,
      () => undefined,
    );
    expect(taken).toBe(this.model.submit(id, fields, this.#now, key === undefined ? undefined : [key, hash]));
  }

  async claim(n: number, m: number): Promise<void> {
    const functions = FUNCTIONS.slice(n % 3).map((function_id, i) => ({ function_id, most: 1 + ((n + i) % 3) }));
    const turns = { functions: n % 2 === 0 ? functions : functions.toReversed(), limit: 1 + (m % 5), urgent: m % 4 };
    const until = this.#now + LEASE_MS;
    const { claimed, left } = await this.#store.ledger.claim(turns, { now: this.#now, until });
    const expected = this.model.claim(turns, until);
    expect(idsOf(claimed).toSorted()).toEqual(expected.map(({ id }) => id).toSorted());
    const ready = this.model.ready();
    expect(Object.fromEntries(left.map(({ function_id, priority }) => [function_id, priority]))).toEqual(
      Object.fromEntries(
        functions.flatMap(({ function_id: id }) => (ready[id] === undefined ? [] : [[id, ready[id]]])),
      ),
    );
    this.#attempts.push(...claimed);
  }

  async giveBack(n: number, m: number): Promise<void> {
    const given = this.#attempts.slice(n % Math.max(1, this.#attempts.length)).slice(0, 1 + (m % 3));
    // An attempt that is given back was never begun: another one has its number.
    this.#attempts = this.#attempts.filter((one) => !given.includes(one));
    await this.#store.ledger.giveBack(given);
    for (const { work } of given) this.model.giveBack(work.invocation_id, work.attempts);
  }

  async succeed(n: number): Promise<void> {
    await this.#end(n, (one) => this.#store.ledger.end(success(one, [], this.#now)), ["leased"], "succeeded");
  }

  async fail(n: number, m: number): Promise<void> {
    const due = this.#now + pick(DELAYS, m);
    await this.#end(n, (one) => this.#store.ledger.end(again(one, due, this.#now)), ["leased"], { due });
  }

  async cancel(n: number): Promise<void> {
    const id = at([...this.model.entries.keys()], n);
    const standing = id === undefined ? undefined : await this.#store.ledger.find(id);
    if (standing === undefined) return;
    const isEnded = await this.#store.ledger.cancelUnattended(cancelled(standing, this.#now));
    const { invocation_id, attempts } = standing.work;
    expect(isEnded).toBe(this.model.end(invocation_id, attempts, ["waiting", "ready", "lost"], "cancelled"));
  }

  async hold(n: number, m: number): Promise<void> {
    const one = at(this.#attempts, n);
    if (one === undefined) return;
    const { invocation_id, attempts: attempt } = one.work;
    const until = this.#now + pick(STEPS, m) + LEASE_MS;
    const held = await this.#store.ledger.hold({ invocation_id, attempt }, until);
    expect(held).toBe(this.model.hold(invocation_id, attempt, until));
  }

  async renew(): Promise<void> {
    await this.#store.ledger.renew(this.#now + LEASE_MS);
    this.model.renew(this.#now + LEASE_MS);
  }

  async loseMine(): Promise<void> {
    expect(await this.#store.ledger.loseMine()).toBe(this.model.loseMine());
  }

  async release(n: number): Promise<void> {
    const until = n % 2 === 0 ? this.#now : Infinity;
    const lost = await this.#store.ledger.lost(until);
    expect(lost.map(({ invocation }) => invocation.id).toSorted()).toEqual(this.model.lost(until));
    const written = await this.#store.ledger.release(lost.map((one) => again(one, this.#now, this.#now)));
    expect(written).toHaveLength(lost.length);
    for (const { work } of lost)
      expect(this.model.end(work.invocation_id, work.attempts, ["lost"], { due: this.#now })).toBe(true);
  }

  async wake(): Promise<void> {
    expect(await this.#store.ledger.wake(this.#now)).toHaveLength(this.model.wake(this.#now));
  }

  pass(n: number): void {
    this.#now += pick(STEPS, n);
  }

  /** Checks that everything visible of the ledger is as in the model. */
  async compare(): Promise<void> {
    const { ledger, history } = this.#store;
    const ready = Object.fromEntries(
      (await ledger.ready()).map(({ function_id, priority }) => [function_id, priority]),
    );
    expect(ready).toEqual(this.model.ready());
    expect([await ledger.count(), await ledger.nextDue()]).toEqual([this.model.left, this.model.nextDue()]);
    for (const entry of this.model.entries.values()) {
      const { id, status, state, due, attempts, lease_until } = entry;
      const record = await history.get(id);
      const work = (await ledger.find(id))?.work;
      expect([id, record?.status]).toEqual([id, status]);
      if (state === "done") expect(work).toBeUndefined();
      else expect(work).toMatchObject({ state, due, attempts, lease_until });
      // A result is never without its callback, nor the other way round.
      expect((await history.delivery(id)) !== undefined).toBe(state === "done");
      expect((await history.attempts(id)).map(({ attempt }) => attempt)).toEqual(
        Array.from({ length: attempts }, (_, index) => index + 1),
      );
    }
  }

  async #end(
    n: number,
    write: (one: PendingWork) => Promise<boolean>,
    ...[from, to]: [from: readonly ["leased"], to: "succeeded" | { readonly due: number }]
  ): Promise<void> {
    const one = at(this.#attempts, n);
    if (one === undefined) return;
    expect(await write(one)).toBe(this.model.end(one.work.invocation_id, one.work.attempts, from, to));
  }
}

/** The commands, with the weights of their choice. */
const COMMANDS = {
  submit: [6, (pair, n, m) => pair.submit(n, m)],
  claim: [8, (pair, n, m) => pair.claim(n, m)],
  giveBack: [2, (pair, n, m) => pair.giveBack(n, m)],
  succeed: [3, (pair, n) => pair.succeed(n)],
  fail: [4, (pair, n, m) => pair.fail(n, m)],
  cancel: [2, (pair, n) => pair.cancel(n)],
  hold: [2, (pair, n, m) => pair.hold(n, m)],
  renew: [1, (pair) => pair.renew()],
  loseMine: [1, (pair) => pair.loseMine()],
  release: [2, (pair, n) => pair.release(n)],
  wake: [4, (pair) => pair.wake()],
  pass: [4, async (pair, n) => pair.pass(n)],
} satisfies Record<string, readonly [weight: number, (pair: Pair, n: number, m: number) => Promise<void>]>;

// Object.keys forgets the type of the keys.
const NAMES = Object.keys(COMMANDS) as (keyof typeof COMMANDS)[];
const number = fc.nat({ max: 30 });
const commands = fc.array(
  fc.tuple(
    fc.oneof(...NAMES.map((name) => ({ weight: COMMANDS[name][0], arbitrary: fc.constant(name) }))),
    number,
    number,
  ),
  { maxLength: 120, size: "max" },
);

function idsOf(claimed: readonly Claimed[]): string[] {
  return claimed.map(({ invocation }) => invocation.id);
}

function pick<T>(list: readonly [T, ...T[]], n: number): T {
  return list[n % list.length] ?? list[0];
}

function at<T>(list: readonly T[], n: number): T | undefined {
  return list[n % Math.max(1, list.length)];
}

describe.each(MAKERS)("Ledger of $name", ({ open, runs }) => {
  test("behaves like its model in memory, for any sequence of commands, including those of stale attempts", async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (history) => {
        const store = await open(new FakeClock());
        try {
          const pair = new Pair(store);
          for (const [name, n, m] of history) await COMMANDS[name][1](pair, n, m);
          await pair.compare();
        } finally {
          await store[Symbol.asyncDispose]();
        }
      }),
      { numRuns: runs, plugins: [fc.timeout(10_000), fc.interruptAfterTimeLimit(60_000)] },
    );
  });
});

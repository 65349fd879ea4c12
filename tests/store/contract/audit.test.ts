import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { AuditEntry, AuditQuery } from "../../../lib/domain/audit.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";

const entry = (n: number, fields: Partial<AuditEntry> = {}): Omit<AuditEntry, "id"> => ({
  at: timestamp(START + n),
  event: "change",
  key_id: "k1",
  address: "192.0.2.1",
  method: "DELETE",
  path: `/v1/functions/${n}`,
  status: 200,
  ...fields,
});
const ALL: AuditQuery = { event: null, key_id: null, before: Number.MAX_SAFE_INTEGER, limit: 100 };

describe.each(MAKERS)("AuditLog of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const paths = async (query: Partial<AuditQuery> = {}) =>
    (await store.audit.list({ ...ALL, ...query })).entries.map(({ path }) => path.replace("/v1/functions/", ""));

  test("list: entries as they were written, newest first, in pages, of an event and a key", async () => {
    await store.audit.append([entry(0), entry(1, { event: "refused_key", key_id: null, address: null })]);
    await store.audit.append([entry(2, { key_id: "k2" })]);
    const [newest] = (await store.audit.list(ALL)).entries;
    expect(newest).toEqual({ id: newest?.id ?? 0, ...entry(2, { key_id: "k2" }) });
    expect(await paths()).toEqual(["2", "1", "0"]);
    expect(await paths({ event: "change" })).toEqual(["2", "0"]);
    expect(await paths({ key_id: "k1" })).toEqual(["0"]);
    const page = await store.audit.list({ ...ALL, limit: 2 });
    expect(page.entries).toHaveLength(2);
    expect(await paths({ before: Number(page.next_cursor) })).toEqual(["0"]);
    expect((await store.audit.list({ ...ALL, limit: 3 })).next_cursor).toBeNull();
  });

  test("prune: what is too old, and what is too much of each event", async () => {
    const refused = { event: "refused_key" } as const;
    await store.audit.append(Array.from({ length: 10 }, (_, n) => entry(n, n % 2 === 0 ? {} : refused)));
    const keep = { change: 100, refused_key: 2 };
    expect(await store.audit.prune({ before: 0, keep, batch: 2 })).toBe(2);
    expect(await store.audit.prune({ before: 0, keep, batch: 2 })).toBe(1);
    expect(await store.audit.prune({ before: 0, keep, batch: 2 })).toBe(0);
    expect(await paths()).toEqual(["9", "8", "7", "6", "4", "2", "0"]);
    expect(await store.audit.prune({ before: START + 7, keep, batch: 100 })).toBe(4);
    expect(await paths()).toEqual(["9", "8", "7"]);
  });
});

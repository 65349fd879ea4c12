import { expect, test } from "bun:test";
import { Listeners } from "../../../lib/http/access/listeners.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";

const times = (count: number, run: () => () => void) => Array.from({ length: count }, run);

test("a key has 200 event streams, all of them 1,000, and one that ends makes room once", () => {
  const listeners = new Listeners();
  const [leave] = times(200, () => listeners.enter("a"));
  expect(thrownBy(() => listeners.enter("a"))).toMatchObject({ reason: "too_many_requests", retry_after_s: 10 });
  leave?.();
  leave?.();
  listeners.enter("a");
  expect(thrownBy(() => listeners.enter("a"))).toMatchObject({ reason: "too_many_requests" });
  times(800, () => listeners.enter(null));
  for (const key of ["b", null]) {
    expect(thrownBy(() => listeners.enter(key))).toMatchObject({ reason: "overloaded", retry_after_s: 10 });
  }
});

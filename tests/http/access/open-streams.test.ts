import { expect, test } from "bun:test";
import { OpenStreams } from "../../../lib/http/access/open-streams.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";

const times = (count: number, run: () => () => void) => Array.from({ length: count }, run);

test("a key has 200 event streams, all of them 1,000, and one that ends makes room once", () => {
  const openStreams = new OpenStreams();
  const [leave] = times(200, () => openStreams.enter("a"));
  expect(thrownBy(() => openStreams.enter("a"))).toMatchObject({ reason: "too_many_requests", retry_after_s: 10 });
  leave?.();
  leave?.();
  openStreams.enter("a");
  expect(thrownBy(() => openStreams.enter("a"))).toMatchObject({ reason: "too_many_requests" });
  times(800, () => openStreams.enter(null));
  for (const key of ["b", null]) {
    expect(thrownBy(() => openStreams.enter(key))).toMatchObject({ reason: "overloaded", retry_after_s: 10 });
  }
});

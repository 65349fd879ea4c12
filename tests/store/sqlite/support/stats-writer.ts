import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore, someInvocation, START } from "./stores.ts";

// A server that is to be killed: writes ended calls, counts them, and removes them, for as long as it lives.
const [directory = "."] = process.argv.slice(2);
const store = newStore(databasePath(directory));
console.log("ready");
for (;;) {
  const ids = Array.from({ length: 20 }, () => Bun.randomUUIDv7());
  const fields = { finished_at: timestamp(START) };
  await store.history.save(ids.map((id) => ({ invocation: someInvocation(id, fields) })));
  console.log(ids.length);
  await store.stats.count(7);
  await store.history.prune({ before: START + 1, keep: 0, batch: 11 });
}

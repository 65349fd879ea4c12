import { ROUTE_DEFAULTS } from "../../../../lib/domain/routes/options.ts";
import { createInterface } from "node:readline";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore, someFunction, someInvocation } from "./stores.ts";

// A server that is to be killed: opens the database in the given directory, prints "ready", and writes for as long
// as it lives. Each line that it prints names records that are written by then.
const [directory = ".", mode = "write"] = process.argv.slice(2);
const store = newStore(databasePath(directory));
console.log("ready");

if (mode === "hold") {
  for await (const _ of createInterface({ input: process.stdin })) break;
  store[Symbol.dispose]();
} else {
  for (;;) {
    const record = someFunction(crypto.randomUUID());
    await store.functions.insert(record);
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: crypto.randomUUID(), path: `/${record.id}`, function: record });
    const ids = Array.from({ length: 20 }, () => crypto.randomUUID());
    await store.tables.invocations.save(
      ids.map((id) => ({ invocation: someInvocation(id), logs: [{ stream: "stdout", text: "x".repeat(1000) }] })),
    );
    console.log(JSON.stringify({ function: record.id, invocations: ids }));
  }
}

import { closeSync, existsSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../../../../lib/domain/errors.ts";
import { StoreError } from "../../../../lib/store/errors.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore, someFunction, someInvocation } from "./stores.ts";

// Fills its disk: run on a tiny file system, it prints its observations as JSON.
const directory = process.argv[2] ?? ".";
const ballast = join(directory, "ballast");
const acknowledged: string[] = [];
const refusals: (string | null)[] = [];

const store = newStore(databasePath(directory));
await insert("before");
fill();
for (let attempt = 0; attempt < 2000 && refusals.length < 20; attempt += 1) await insert(`full-${attempt}`);
await insertTogether();
await saveRecords();
const readWhileFull = acknowledged.every((id) => store.functions.get(id) !== undefined);
const countWhileFull = store.functions.count();
rmSync(ballast);
const refusedBefore = refusals.length;
await insert("after");
const recovered = refusals.length === refusedBefore;
store[Symbol.dispose]();

const kept = reopened();
rmSync(databasePath(directory));
fill();
const openedWhenFull = openFailure();
console.log(
  JSON.stringify({
    refusals: [...new Set(refusals)],
    readWhileFull,
    nothingElse: countWhileFull === acknowledged.length - 1,
    recovered,
    keptAll: kept === acknowledged.length,
    openedWhenFull,
    ballast: existsSync(ballast),
  }),
);

async function insert(id: string): Promise<void> {
  try {
    await store.functions.insert(someFunction(id, { environment: { A: "x".repeat(2000) } }));
    acknowledged.push(id);
  } catch (error) {
    refusals.push(error instanceof AppError ? error.reason : String(error));
  }
}

/** All of them or none: `nothingElse` counts. */
async function insertTogether(): Promise<void> {
  try {
    const functions = Array.from({ length: 100 }, (_, i) => {
      const after = someFunction(`together-${i}`, { environment: { A: "x".repeat(2000) } });
      return { name: after.id, after };
    });
    await store.applyManifest({ functions, routes: [] }, { revision: store.revision, dry_run: false });
    acknowledged.push("together-0");
  } catch (error) {
    refusals.push(error instanceof AppError ? error.reason : String(error));
  }
}

async function saveRecords(): Promise<void> {
  try {
    const logs = [{ stream: "stdout" as const, text: "x".repeat(1_000_000) }];
    await store.tables.invocations.save([{ invocation: someInvocation("i1"), logs }]);
  } catch (error) {
    refusals.push(error instanceof AppError ? error.reason : String(error));
  }
}

function fill(): void {
  const descriptor = openSync(ballast, "a");
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096));
  } catch {
    closeSync(descriptor);
  }
}

function reopened(): number {
  const again = newStore(databasePath(directory));
  const found = acknowledged.filter((id) => again.functions.get(id) !== undefined).length;
  again[Symbol.dispose]();
  return found;
}

function openFailure(): string {
  try {
    newStore(databasePath(directory))[Symbol.dispose]();
    return "opened";
  } catch (error) {
    return error instanceof StoreError ? error.message : String(error);
  }
}

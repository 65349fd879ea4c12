import { StoreError } from "../../../../lib/store/errors.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore } from "./stores.ts";

// Opens the database in the given directory, and prints the message of the refusal, or nothing.
try {
  newStore(databasePath(process.argv[2] ?? "."))[Symbol.dispose]();
} catch (error) {
  console.log(error instanceof StoreError ? error.message : `not a StoreError: ${String(error)}`);
}

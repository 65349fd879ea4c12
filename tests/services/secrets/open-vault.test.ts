import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { openVault } from "../../../lib/services/secrets/open-vault.ts";
import type { Vault } from "../../../lib/services/secrets/vault.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { keyFilePath, readKeyFile } from "../../../lib/services/secrets/key-file.ts";
import { systemClock } from "../../../lib/clock.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import type { Store } from "../../../lib/store/store.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog, newStore, rejectionOf, scratchDirectory } from "../../store/sqlite/support/stores.ts";

const OURS = Buffer.alloc(32, "o");
const OTHER = Buffer.alloc(32, "x");

/** A database and a place for its key, both gone with the test. */
function place() {
  const scratch = scratchDirectory();
  const store = newStore();
  const file = keyFilePath(scratch.path);
  const { log, events } = listeningLog();
  return {
    store,
    file,
    events,
    directory: scratch.path,
    /** Opens the vault as a start of the server does. */
    open: (given: Uint8Array | null = null) => openVault(store, { given, key_file: file, log }),
    [Symbol.dispose]() {
      store[Symbol.dispose]();
      scratch[Symbol.dispose]();
    },
  };
}

async function seal(store: Pick<Store, "secrets">, vault: Vault): Promise<void> {
  await store.secrets.put({
    name: "a",
    value: vault.seal("secret:a", "value"),
    bytes: 5,
    created_at: "",
    updated_at: "",
  });
}

describe("openVault", () => {
  test("makes a key at the first start, for its owner only, and uses it from then on", async () => {
    using here = place();
    const sealed = (await here.open()).seal("c", "text");
    expect(statSync(here.file).mode & 0o777).toBe(0o600);
    expect(here.events).toMatchObject([{ level: "info", path: here.file }]);
    const bytes = readFileSync(here.file);
    expect((await here.open()).open("c", sealed)).toBe("text");
    expect(readFileSync(here.file).equals(bytes)).toBe(true);
    expect(here.events).toHaveLength(1);
  });

  test("uses a given key, and makes no file", async () => {
    using here = place();
    const sealed = (await here.open(OURS)).seal("c", "text");
    expect(readdirSync(here.directory)).toEqual([]);
    expect((await here.open(OURS)).open("c", sealed)).toBe("text");
  });

  test("accepts the content of its own file as a given key, so that the key can be moved", async () => {
    using here = place();
    const sealed = (await here.open()).seal("c", "text");
    const key = readKeyFile(here.file, listeningLog().log) ?? null;
    rmSync(here.file);
    expect((await here.open(key)).open("c", sealed)).toBe("text");
  });

  test("accepts another key, or makes a new one, as long as nothing is sealed", async () => {
    using here = place();
    await here.open(OURS);
    await here.open(OTHER);
    await here.open();
    rmSync(here.file);
    const sealed = (await here.open()).seal("c", "text");
    expect((await here.open()).open("c", sealed)).toBe("text");
  });

  test("makes no new key if the one that secrets were sealed with is gone", async () => {
    using here = place();
    await seal(here.store, await here.open());
    const key = readFileSync(here.file);
    rmSync(here.file);
    const error = await rejectionOf(here.open());
    expect(error).toBeInstanceOf(StoreError);
    expect(String(error)).toContain(
      `The secrets in the database cannot be read: their key ${JSON.stringify(here.file)} is gone. ` +
        "Put that file back, or give its content as SECRET_KEY.",
    );
    expect(readdirSync(here.directory)).toEqual([]);
    writeFileSync(here.file, key, { mode: 0o600 });
    await here.open();
  });

  test.each<[what: string, given: Uint8Array | null, source: (file: string) => string]>([
    ["in its file", null, (file) => `The key in ${JSON.stringify(file)}`],
    ["that was given", OTHER, () => "The key given as SECRET_KEY"],
  ])("refuses a wrong key %s, and changes nothing", async (_, given, source) => {
    using here = place();
    const vault = await here.open(OURS);
    await seal(here.store, vault);
    writeFileSync(here.file, OTHER.toString("hex"), { mode: 0o600 });
    const error = await rejectionOf(here.open(given));
    expect(error).toBeInstanceOf(StoreError);
    expect(String(error)).toContain(
      `${source(here.file)} is not the one that the secrets in the database were encrypted with: give that one.`,
    );
    // The output of a start does not contain a key.
    expect(String(error)).not.toContain(OTHER.toString("hex"));
    expect((await here.open(OURS)).open("secret:a", here.store.secrets.get("a")?.value ?? "")).toBe("value");
  });

  test("the secret that signs callbacks is sealed as well, and lost with the key", async () => {
    using here = place();
    const vault = await here.open(OURS);
    await here.store.settings.replaceCallbackSecrets(null, vault.seal("callback-secrets", "{}"));
    expect(await rejectionOf(here.open(OTHER))).toBeInstanceOf(StoreError);
    expect(String(await rejectionOf(here.open()))).toContain('and the row "callback_secrets" of "settings"');
    await here.open(OURS);
  });

  test("can start over when the key is lost, as its message says", async () => {
    using here = place();
    await seal(here.store, await here.open());
    rmSync(here.file);
    expect(String(await rejectionOf(here.open()))).toContain(
      'delete the rows of the tables "secrets" and "registries"',
    );
    await here.store.secrets.delete("a", { force: true });
    await here.open();
    expect(readdirSync(here.directory)).toEqual(["secret.key"]);
  });
});

test("openVault says how to go on with PostgreSQL if the key is lost, and that works", async () => {
  const database = await newDatabase();
  const options = { log: listeningLog().log, clock: systemClock, server_id: "s1" };
  const open = async (given: Uint8Array) => {
    await using store = await openPostgresStore(database.url, options);
    const vault = await openVault(store, { given, key_file: "/none", log: options.log });
    if (!store.secrets.anythingSealed()) await seal(store, vault);
  };
  await open(OURS);
  const { message } = (await rejectionOf(open(OTHER))) as StoreError;
  const [, statement = ""] = /run "(.*)" with psql, start again/.exec(message) ?? [];
  await database.run(statement);
  await open(OTHER);
  expect(await rejectionOf(open(OURS))).toBeInstanceOf(StoreError);
});

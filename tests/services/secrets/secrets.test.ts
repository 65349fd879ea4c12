import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SECRET_BYTES } from "../../../lib/domain/limits.ts";
import { SecretService } from "../../../lib/services/secrets/secrets.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import type { SealedSecret } from "../../../lib/store/records.ts";
import { listeningLog, newStore, someFunction, stillClock, thrownBy } from "../../store/sqlite/support/stores.ts";

/** Secrets in a database in memory, with the logged events. */
function newSecrets(vault = Vault.forgetful()) {
  const store = newStore();
  const { log, events } = listeningLog();
  const changed: string[] = [];
  const secrets = new SecretService({
    store,
    vault,
    clock: stillClock(),
    log,
    onChange: (name) => void changed.push(name),
  });
  return { store, secrets, events, changed, [Symbol.dispose]: () => store[Symbol.dispose]() };
}

function file(name: string) {
  return { name, environment: null };
}

describe("SecretService", () => {
  test("valuesFor: files and variables, in the order of the function", async () => {
    using set = newSecrets();
    await set.secrets.put("b", { value: "of b" });
    await set.secrets.put("a", { value: "of a" });
    const secrets = [file("b"), { name: "a", environment: "A" }, file("a"), { name: "a", environment: "__proto__" }];
    const values = set.secrets.valuesFor(someFunction("f", { secrets }));
    expect(values.files).toEqual([
      { name: "b", value: "of b" },
      { name: "a", value: "of a" },
    ]);
    expect(Object.entries(values.environment)).toEqual([
      ["A", "of a"],
      ["__proto__", "of a"],
    ]);
    expect(set.secrets.valuesFor(someFunction("f"))).toEqual({ environment: {}, files: [] });
  });

  test("put and delete: say which secret has changed, but not for the value that it has already", async () => {
    using set = newSecrets();
    await set.secrets.put("a", { value: "one" });
    await set.secrets.put("a", { value: "one" });
    expect(set.changed).toEqual(["a"]);
    await set.secrets.put("a", { value: "two" });
    expect(set.changed).toEqual(["a", "a"]);
    await set.secrets.delete("a", { force: false });
    expect(set.changed).toEqual(["a", "a", "a"]);
  });

  test("valuesFor: returns any text as it was put", async () => {
    using set = newSecrets();
    const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", "\0", "\ufeffx", "a\r\n"));
    const fn = someFunction("f", { secrets: [file("a")] });
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        await set.secrets.put("a", { value });
        expect(set.secrets.valuesFor(fn).files[0]?.value).toBe(value);
      }),
    );
  });

  test("valuesFor: the next call gets the value that was put last", async () => {
    using set = newSecrets();
    const fn = someFunction("f", { secrets: [file("a")] });
    for (const value of ["one", "two", ""]) {
      await set.secrets.put("a", { value });
      expect(set.secrets.valuesFor(fn).files).toEqual([{ name: "a", value }]);
    }
  });

  test("valuesFor: the error names a secret that was deleted", async () => {
    using set = newSecrets();
    await set.secrets.put("a", { value: "value" });
    await set.secrets.delete("a", { force: false });
    expect(thrownBy(() => set.secrets.valuesFor(someFunction("f", { secrets: [file("a")] })))).toMatchObject({
      reason: "secret_unavailable",
      message:
        'The function\'s secret "a" does not exist: PUT /v1/secrets/a, or take it out of the function\'s "secrets"',
    });
  });

  test.each<[what: string, damage: (row: SealedSecret, other: SealedSecret) => Partial<SealedSecret>]>([
    ["cut short", (row) => ({ value: row.value.slice(0, -8) })],
    ["swapped with another's", (_, other) => ({ value: other.value })],
    ["sealed with another key", () => ({ value: Vault.forgetful().seal("secret:a", "value") })],
  ])("valuesFor: a value that was %s in the database is an error, logged, and fixed by a PUT", async (_, damage) => {
    using set = newSecrets();
    const fn = someFunction("f", { secrets: [file("a")] });
    const rowOf = (name: string): SealedSecret => {
      const found = set.store.secrets.get(name);
      if (found === undefined) throw new Error(`no ${name}`);
      return found;
    };
    for (const name of ["a", "b"]) await set.secrets.put(name, { value: `the value of ${name}` });
    await set.store.secrets.put({ ...rowOf("a"), ...damage(rowOf("a"), rowOf("b")) });
    expect(thrownBy(() => set.secrets.valuesFor(fn))).toMatchObject({
      reason: "secret_unavailable",
      message:
        'The function\'s secret "a" cannot be read: PUT /v1/secrets/a, or take it out of the function\'s "secrets"',
    });
    expect(set.events).toMatchObject([{ level: "error", event: "a secret cannot be opened", secret: "a" }]);
    expect(JSON.stringify(set.events)).not.toContain("the value of");
    await set.secrets.put("a", { value: "new" });
    expect(set.secrets.valuesFor(fn).files).toEqual([{ name: "a", value: "new" }]);
  });

  test("valuesFor: the error names a secret that an older version of a function can no longer be given", async () => {
    using set = newSecrets();
    await set.secrets.put("a", { value: "a\0b" });
    const variable = someFunction("f", { secrets: [{ name: "a", environment: "A" }] });
    expect(thrownBy(() => set.secrets.valuesFor(variable))).toMatchObject({
      reason: "secret_unavailable",
      message: expect.stringContaining('"a" holds a NUL, which no variable can'),
    });
    const names = Array.from({ length: 9 }, (_, index) => `part-${index}`);
    for (const name of names) await set.secrets.put(name, { value: "x".repeat(SECRET_BYTES) });
    const hoarder = someFunction("f", { secrets: names.map(file) });
    expect(thrownBy(() => set.secrets.valuesFor(hoarder))).toMatchObject({
      reason: "secret_unavailable",
      message: expect.stringContaining('"part-8" makes the function\'s secrets too large together'),
    });
  });

  test("put: seals the same value differently each time, and never stores it in the clear", async () => {
    using set = newSecrets();
    const stored: unknown[] = [];
    for (const name of ["a", "b", "a"]) {
      await set.secrets.put(name, { value: "the same value" });
      stored.push(set.store.secrets.get(name)?.value);
    }
    expect(new Set(stored).size).toBe(3);
    expect(JSON.stringify(stored)).not.toContain("same");
    expect(set.store.secrets.get("a")?.bytes).toBe("the same value".length);
  });
});

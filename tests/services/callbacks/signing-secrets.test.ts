import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { hkdfSync } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { CALLBACK_ROTATION_MS } from "../../../lib/domain/limits.ts";
import { CallbackSecrets } from "../../../lib/services/callbacks/signing-secrets.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { newStore } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const vault = Vault.forgetful();
let clock: FakeClock;
let store: SqliteStore;

beforeEach(() => {
  clock = new FakeClock();
  // The library of the receivers checks the time of day.
  clock.jump(Date.now() - clock.now());
  store = newStore();
});
afterEach(() => store[Symbol.dispose]());

/** The names that a signature is for. */
const ONE = { id: "i1", function_id: "f1" };

describe("CallbackSecrets", () => {
  const made = () => new CallbackSecrets({ settings: store.settings, vault, clock });

  test("is made once, kept sealed, and the same for all", async () => {
    const secrets = made();
    const [one, two] = await Promise.all([secrets.get(), made().get()]);
    expect(one.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(two).toEqual(one);
    expect(await made().get()).toEqual({ secret: one.secret, previous_until: null });
    expect(store.settings.callbackSecrets()).not.toContain("whsec_");
  });

  // EDGE.md E5.
  test("each function has a secret of its own, which says nothing about the others", async () => {
    const secrets = made();
    const [server, f1, f2] = await Promise.all([secrets.get(), secrets.getFor("f1"), secrets.getFor("f2")]);
    expect(new Set([server.secret, f1.secret, f2.secret]).size).toBe(3);
    expect(f1.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(await made().getFor("f1")).toEqual(f1);
    const headers = await secrets.headers(ONE, "{}");
    for (const { secret } of [f1, server]) new Webhook(secret).verify("{}", headers);
    expect(() => new Webhook(f2.secret).verify("{}", headers)).toThrow("No matching signature found");
    // RFC 5869 with Node's own function, on the bytes that the secret's text has.
    const key = Buffer.from(server.secret.slice("whsec_".length), "base64");
    const expected = hkdfSync("sha256", key, "", "callbacks of f1", 32);
    expect(f1.secret).toBe(`whsec_${Buffer.from(expected).toString("base64")}`);
  });

  // EDGE.md E5.
  test("rotate: a function's secret changes with the server's, and both sign for a day", async () => {
    const secrets = made();
    const before = await secrets.getFor("f1");
    await secrets.rotate();
    const after = await secrets.getFor("f1");
    expect(after.secret).not.toBe(before.secret);
    expect(Date.parse(after.previous_until ?? "") - clock.now()).toBe(CALLBACK_ROTATION_MS);
    const headers = await secrets.headers(ONE, "{}");
    for (const { secret } of [before, after]) new Webhook(secret).verify("{}", headers);
    await clock.advance(CALLBACK_ROTATION_MS);
    const later = await secrets.headers(ONE, "{}");
    // Two are left: the function's own and the server's.
    expect(later["webhook-signature"]?.split(" ")).toHaveLength(2);
  });

  // EDGE.md E2.
  test("a secret that was replaced while the clock was ahead signs no longer than a day", async () => {
    const secrets = made();
    clock.jump(365 * 24 * 3_600_000);
    await secrets.rotate();
    clock.jump(-365 * 24 * 3_600_000);
    expect(await secrets.get()).toMatchObject({ previous_until: null });
    expect((await secrets.headers(ONE, "{}"))["webhook-signature"]?.split(" ")).toHaveLength(2);
  });

  test("rotate: signs with both for a day, then only with the new one", async () => {
    const secrets = made();
    const before = (await secrets.get()).secret;
    const { secret, previous_until } = await secrets.rotate();
    expect(secret).not.toBe(before);
    expect(Date.parse(previous_until ?? "") - clock.now()).toBe(CALLBACK_ROTATION_MS);
    const headers = await secrets.headers(ONE, "{}");
    for (const one of [before, secret]) new Webhook(one).verify("{}", headers);
    await clock.advance(CALLBACK_ROTATION_MS);
    expect((await secrets.headers(ONE, "{}"))["webhook-signature"]?.split(" ")).toHaveLength(2);
    expect(await secrets.get()).toEqual({ secret, previous_until: null });
  });

  test("rotate: twice in a row leaves the last two, and the first rotation may make the first secret", async () => {
    const secrets = made();
    const one = await secrets.rotate();
    expect(one.previous_until).toBeNull();
    const two = await secrets.rotate();
    const three = await secrets.rotate();
    const headers = await secrets.headers(ONE, "{}");
    for (const { secret } of [two, three]) new Webhook(secret).verify("{}", headers);
    expect(() => new Webhook(one.secret).verify("{}", headers)).toThrow();
  });
});

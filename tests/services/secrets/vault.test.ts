import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Vault, VaultError } from "../../../lib/services/secrets/vault.ts";

/** Any text that UTF-8 can hold: the empty one, NUL, characters beyond the first plane. */
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("", "\0", "\ufeff"),
);
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });

function bytesOf(sealed: string): Buffer {
  return Buffer.from(sealed, "base64");
}

describe("Vault", () => {
  test("open: returns any text that was sealed", () => {
    fc.assert(
      fc.property(key, text, text, (bytes, context, plaintext) => {
        // Another object with the same key: the next start of the server.
        const sealed = new Vault(bytes).seal(context, plaintext);
        expect(new Vault(bytes).open(context, sealed)).toBe(plaintext);
      }),
    );
  });

  test("open: returns a text of many kilobytes", () => {
    const vault = Vault.forgetful();
    const plaintext = "\u{1f511}ü\n".repeat(20_000);
    expect(vault.open("c", vault.seal("c", plaintext))).toBe(plaintext);
  });

  test("open: refuses a value with any bit changed, in its version, nonce, text or tag", () => {
    const vault = Vault.forgetful();
    fc.assert(
      fc.property(text, fc.nat(), fc.nat({ max: 7 }), (plaintext, at, bit) => {
        const bytes = bytesOf(vault.seal("context", plaintext));
        const index = at % bytes.length;
        bytes.writeUInt8((bytes[index] ?? 0) ^ (1 << bit), index);
        expect(() => vault.open("context", bytes.toString("base64"))).toThrow(VaultError);
      }),
    );
  });

  test("open: refuses every single changed byte of one value", () => {
    const vault = Vault.forgetful();
    const sealed = bytesOf(vault.seal("context", "a value"));
    for (const index of sealed.keys()) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8((changed[index] ?? 0) ^ 0xff, index);
      expect(() => vault.open("context", changed.toString("base64"))).toThrow(VaultError);
    }
  });

  test("open: refuses another context", () => {
    const vault = Vault.forgetful();
    fc.assert(
      fc.property(text, text, text, (context, other, plaintext) => {
        fc.pre(context !== other);
        expect(() => vault.open(other, vault.seal(context, plaintext))).toThrow(VaultError);
      }),
    );
  });

  test("open: refuses another key", () => {
    fc.assert(
      fc.property(key, key, text, (one, other, plaintext) => {
        fc.pre(Buffer.compare(one, other) !== 0);
        expect(() => new Vault(other).open("context", new Vault(one).seal("context", plaintext))).toThrow(VaultError);
      }),
    );
  });

  test("open: refuses anything that was not sealed", () => {
    const vault = Vault.forgetful();
    const base64 = fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64"));
    fc.assert(
      fc.property(fc.oneof(text, base64), (sealed) => {
        expect(() => vault.open("context", sealed)).toThrow(VaultError);
      }),
    );
  });

  test.each<[what: string, change: (sealed: string) => string]>([
    ["cut short", (sealed) => sealed.slice(0, -4)],
    ["with something behind it", (sealed) => `${sealed}AAAA`],
    ["with a line break in it", (sealed) => `${sealed.slice(0, 8)}\n${sealed.slice(8)}`],
    ["in the other alphabet", (sealed) => bytesOf(sealed).toString("base64url")],
    ["empty", () => ""],
  ])("open: refuses a sealed value %s", (_, change) => {
    const vault = Vault.forgetful();
    // 15 bytes make 44 in all, so that there is padding for the other alphabet to leave out.
    expect(() => vault.open("context", change(vault.seal("context", "x".repeat(15))))).toThrow(VaultError);
  });

  test("seal: never returns the same text twice, and reveals nothing but the length", () => {
    const vault = Vault.forgetful();
    const sealed = Array.from({ length: 1_000 }, () => vault.seal("context", "plain value"));
    expect(new Set(sealed).size).toBe(1_000);
    expect(new Set(sealed.map((one) => bytesOf(one).subarray(1, 13).toString("hex"))).size).toBe(1_000);
    for (const one of sealed) expect(bytesOf(one).toString("latin1")).not.toContain("plain");
    expect(bytesOf(sealed[0] ?? "")).toHaveLength(1 + 12 + "plain value".length + 16);
  });

  test("seal: refuses half of a surrogate pair, which would not be returned", () => {
    expect(() => Vault.forgetful().seal("context", "\ud800")).toThrow(RangeError);
  });

  test("fingerprint: is the same for the same key, different for another, and reveals nothing of the key", () => {
    fc.assert(
      fc.property(key, key, (one, other) => {
        const fingerprint = new Vault(one).fingerprint();
        expect(new Vault(one).fingerprint()).toBe(fingerprint);
        expect(new Vault(other).fingerprint() === fingerprint).toBe(Buffer.compare(one, other) === 0);
        expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
        expect(fingerprint).not.toContain(Buffer.from(one).toString("hex").slice(0, 16));
      }),
    );
  });

  test("the key has 32 bytes, and is never shown", () => {
    for (const length of [0, 16, 31, 33]) expect(() => new Vault(new Uint8Array(length))).toThrow(RangeError);
    const vault = new Vault(Buffer.alloc(32, "k"));
    expect(Bun.inspect(vault, { depth: 9 }) + JSON.stringify(vault)).not.toMatch(/kkk|6b6b|107, 107/);
  });
});

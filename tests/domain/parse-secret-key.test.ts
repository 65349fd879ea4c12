import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseSecretKey, SECRET_KEY_BYTES } from "../../lib/domain/parse-secret-key.ts";

test("parseSecretKey reads 32 bytes in base64, base64url and hex, with white space around", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: SECRET_KEY_BYTES, maxLength: SECRET_KEY_BYTES }), (bytes) => {
      const key = Buffer.from(bytes);
      const base64 = key.toString("base64");
      const forms = [base64, base64.slice(0, -1), key.toString("base64url"), key.toString("hex")];
      for (const form of [...forms, key.toString("hex").toUpperCase(), `${base64}\n`, ` ${base64}\r\n`]) {
        expect(Buffer.from(parseSecretKey(form) ?? []).equals(key)).toBe(true);
      }
    }),
  );
});

test.each([
  ["", "nothing"],
  ["correct horse battery staple", "a phrase"],
  ["a".repeat(42), "too short"],
  ["a".repeat(45), "too long for base64, too short for hex"],
  ["a".repeat(63), "too short for hex"],
  ["a".repeat(65), "too long for hex"],
  ["g".repeat(64), "no hex"],
  [`${"a".repeat(43)}==`, "padded twice"],
  [`${"a".repeat(20)} ${"a".repeat(22)}=`, "with a space in it"],
  [`${"a".repeat(42)}ü=`, "with another letter"],
])("parseSecretKey refuses %j: %s", (text) => {
  expect(parseSecretKey(text)).toBeUndefined();
});

import { describe, expect, test } from "bun:test";
import { administrator, type Caller } from "../../../lib/domain/keys.ts";
import { shownJson } from "../../../lib/http/access/shown-json.ts";

const ADMIN = administrator(null);
const READER: Caller = { key_id: "k", scopes: ["read"], function_id: null };
const HOOK = "https://example.com/services/token";

function record(environment: Readonly<Record<string, string>> = {}) {
  return Object.freeze({ id: "f1", callback_url: HOOK, environment });
}

describe("shownJson", () => {
  test.each([
    ["administrator first", [ADMIN, READER]],
    ["reader first", [READER, ADMIN]],
  ])("each caller gets what it may see, also when another one was here before: %s", (_, callers) => {
    const seen = record();
    for (const caller of [...callers, ...callers]) {
      const { callback_url } = JSON.parse(shownJson(caller, seen)) as { callback_url: string };
      expect(callback_url).toBe(caller === ADMIN ? HOOK : "https://example.com/***");
    }
  });

  test("is what JSON.stringify makes of the record, and of each new one", () => {
    const [before, after] = [record({ A: "1" }), record({ A: "\u2028 é" })];
    for (const one of [before, after, before]) expect(shownJson(ADMIN, one)).toBe(JSON.stringify(one));
  });

  test("a record that may change, and a long one, is put into words each time", () => {
    const open = { id: "f1", environment: { A: "1" } };
    expect(shownJson(ADMIN, open)).toContain('"A":"1"');
    open.environment.A = "2";
    expect(shownJson(ADMIN, open)).toContain('"A":"2"');
    const long = record({ A: "x".repeat(64 * 1024) });
    expect(shownJson(ADMIN, long)).toBe(JSON.stringify(long));
  });
});

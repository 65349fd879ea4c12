import { describe, expect, test } from "bun:test";
import type { Server } from "bun";
import { AppError } from "../../lib/domain/errors.ts";
import { type AccessPolicy, createAccess, isLoopback } from "../../lib/http/access.ts";
import { hashKey } from "../../lib/services/api-key.ts";

const KEY = "slipway_key";
const GATEWAY = "172.18.0.1";

const LOOPBACK: AccessPolicy = {
  key_hash: undefined,
  key_required: false,
  loopback: true,
  allowed_hosts: ["slipway.example", "other.example:8443"],
  gateways: () => [GATEWAY],
};
const LOCKED: AccessPolicy = { ...LOOPBACK, key_hash: hashKey(KEY), key_required: true, loopback: false };
const OPEN: AccessPolicy = { ...LOOPBACK, key_hash: hashKey(KEY), loopback: false };

/** Why a request is refused, or "passes". */
function verdict(policy: AccessPolicy, headers: Record<string, string>, caller = "127.0.0.1"): string {
  const request = new Request("http://localhost/v1/functions", { headers: { Host: "localhost:9999", ...headers } });
  // Of a server, the check needs this alone.
  const server = { requestIP: () => ({ address: caller }) } as unknown as Server<unknown>;
  try {
    createAccess(policy)(request, server, { scopes: [] });
    return "passes";
  } catch (error) {
    return error instanceof AppError ? error.reason : String(error);
  }
}

describe("createAccess, by the key", () => {
  const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });
  test.each<readonly [string, AccessPolicy, Record<string, string>, string]>([
    ["no key where one is needed", LOCKED, {}, "unauthorized"],
    ["the key", LOCKED, bearer(KEY), "passes"],
    ["the key, with a scheme in other letters", LOCKED, { Authorization: `bEARER   ${KEY} ` }, "passes"],
    ["the key in X-API-Key", LOCKED, { "X-API-Key": KEY }, "passes"],
    ["a wrong key", LOCKED, bearer(`${KEY}x`), "unauthorized"],
    ["the hash of the key", LOCKED, bearer(hashKey(KEY)), "unauthorized"],
    ["an empty key", LOCKED, { Authorization: "Bearer " }, "unauthorized"],
    ["an empty X-API-Key", LOCKED, { "X-API-Key": "" }, "unauthorized"],
    ["another scheme", LOCKED, { Authorization: `Basic ${btoa(`x:${KEY}`)}` }, "unauthorized"],
    ["two keys", LOCKED, bearer(`${KEY} ${KEY}`), "unauthorized"],
    ["a wrong key where none is needed", OPEN, bearer("wrong"), "unauthorized"],
    ["a key where there is none", LOOPBACK, bearer(KEY), "unauthorized"],
    ["the key, from anywhere", OPEN, { ...bearer(KEY), Host: "evil.example", Origin: "http://evil.example" }, "passes"],
    ["the key, from another site", LOCKED, { ...bearer(KEY), "Sec-Fetch-Site": "cross-site" }, "passes"],
  ])("%s", (_name, policy, headers, expected) => {
    expect(verdict(policy, headers, "203.0.113.9")).toBe(expected);
  });
});

describe("createAccess, by the caller, with AUTH=off on an open address", () => {
  test.each([
    ["127.0.0.1", "passes"],
    ["127.8.9.10", "passes"],
    ["::1", "passes"],
    ["::ffff:127.0.0.1", "passes"],
    [GATEWAY, "passes"],
    [`::ffff:${GATEWAY}`, "passes"],
    ["172.18.0.2", "unauthorized"],
    ["203.0.113.9", "unauthorized"],
    ["::ffff:203.0.113.9", "unauthorized"],
    ["fe80::1", "unauthorized"],
    ["", "unauthorized"],
  ])("%s", (caller, expected) => {
    expect(verdict(OPEN, {}, caller)).toBe(expected);
  });
});

describe("createAccess, by the Host of a request without a key", () => {
  test.each([
    ["localhost", "passes"],
    ["LOCALHOST:9999", "passes"],
    ["slipway.localhost:9999", "passes"],
    ["127.0.0.1:9999", "passes"],
    ["[::1]:9999", "passes"],
    ["[::1]", "passes"],
    ["slipway.example", "passes"],
    ["Slipway.Example:1234", "passes"],
    ["other.example:8443", "passes"],
    ["other.example:8444", "misdirected_request"],
    ["evil.example", "misdirected_request"],
    ["localhost.evil.example", "misdirected_request"],
    ["127.0.0.1.evil.example", "misdirected_request"],
    ["evil.example:127", "misdirected_request"],
    ["localhost, evil.example", "misdirected_request"],
    ["evil.example#localhost", "misdirected_request"],
    ["localhost@evil.example", "misdirected_request"],
    ["192.0.2.1", "misdirected_request"],
    ["0.0.0.0", "misdirected_request"],
    ["", "misdirected_request"],
  ])("%j", (host, expected) => {
    expect(verdict(LOOPBACK, { Host: host })).toBe(expected);
  });
});

describe("createAccess, by the site of a request without a key", () => {
  test.each<readonly [Record<string, string>, string]>([
    [{ "Sec-Fetch-Site": "same-origin" }, "passes"],
    [{ "Sec-Fetch-Site": "none" }, "passes"],
    [{ "Sec-Fetch-Site": "same-site" }, "forbidden"],
    [{ "Sec-Fetch-Site": "cross-site" }, "forbidden"],
    [{ "Sec-Fetch-Site": "" }, "forbidden"],
    [{ Origin: "http://localhost:9999" }, "passes"],
    [{ Origin: "http://slipway.example", Host: "slipway.example" }, "passes"],
    [{ Origin: "https://slipway.example", Host: "slipway.example" }, "passes"],
    [{ Origin: "http://localhost:3000" }, "forbidden"],
    [{ Origin: "http://localhost" }, "forbidden"],
    [{ Origin: "http://127.0.0.1:9999" }, "forbidden"],
    [{ Origin: "https://evil.example" }, "forbidden"],
    [{ Origin: "null" }, "forbidden"],
    [{ Origin: "" }, "forbidden"],
    [{ Origin: "http://localhost:9999", "Sec-Fetch-Site": "cross-site" }, "forbidden"],
  ])("%j", (headers, expected) => {
    expect(verdict(LOOPBACK, headers)).toBe(expected);
  });
});

test.each([
  ["127.0.0.1", true],
  ["127.255.255.254", true],
  ["::1", true],
  ["[::1]", true],
  ["localhost", true],
  ["0.0.0.0", false],
  ["::", false],
  ["128.0.0.1", false],
  ["1127.0.0.1", false],
  ["localhostx", false],
  ["example.com", false],
])("isLoopback of %s is %p", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

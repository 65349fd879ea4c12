import { describe, expect, test } from "bun:test";
import type { Server } from "bun";
import { AppError } from "../../../lib/domain/errors.ts";
import { peerAddress } from "../../../lib/http/access/client-address.ts";
import { isLoopback } from "../../../lib/domain/addresses.ts";
import { type AccessPolicy, createAccessCheck, type Needs } from "../../../lib/http/access/access.ts";
import { administrator, type Caller, checkScope, type Scope } from "../../../lib/domain/keys.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";
import type { Identification } from "../../../lib/services/access/keys.ts";

const KEY = "slipway_key";
const GATEWAY = "172.18.0.1";

/** The keys of a server that has one. The service has tests of its own. */
const ONE_KEY = {
  identify: (token: string): Identification =>
    token === KEY ? { caller: administrator("server") } : { refused: "wrong", message: "The API key is wrong" },
};
/** A login with a key that may only read. */
const SESSION = "session";
const READER: Caller = { key_id: "reader", scopes: ["read"], function_id: null };
const NO_KEY = { identify: (): Identification => ({ refused: "none", message: "This server has no API key" }) };

const LOOPBACK: AccessPolicy = {
  keys: NO_KEY,
  sessions: { identify: (session) => (session === SESSION ? READER : undefined) },
  clientUsesTls: () => false,
  guesses: { failed: () => undefined },
  catchUp: null,
  key_required: false,
  loopback: true,
  allowed_hosts: ["slipway.example", "other.example:8443"],
  clientAddress: peerAddress,
  audit: { refused: () => undefined },
  gateways: () => [GATEWAY],
};
const LOCKED: AccessPolicy = { ...LOOPBACK, keys: ONE_KEY, key_required: true, loopback: false };
const OPEN: AccessPolicy = { ...LOOPBACK, keys: ONE_KEY, loopback: false };

/** Returns the reason why a request is refused, or "passes". */
function verdict(
  policy: AccessPolicy,
  headers: Record<string, string>,
  caller = "127.0.0.1",
  needs: Needs = { scopes: [] },
): string {
  const request = new Request("http://localhost/v1/functions", { headers: { Host: "localhost:9999", ...headers } });
  // The only method of a server that is called.
  const server = { requestIP: () => ({ address: caller }) } as unknown as Server<unknown>;
  try {
    void createAccessCheck(policy)(request, server, needs);
    return "passes";
  } catch (error) {
    return error instanceof AppError ? error.reason : String(error);
  }
}

const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });

describe("createAccessCheck, by the key", () => {
  test.each<readonly [string, AccessPolicy, Record<string, string>, string]>([
    ["no key if one is needed", LOCKED, {}, "unauthorized"],
    ["the key", LOCKED, bearer(KEY), "passes"],
    ["the key, with a scheme in other letters", LOCKED, { Authorization: `bEARER   ${KEY} ` }, "passes"],
    ["the key in X-API-Key", LOCKED, { "X-API-Key": KEY }, "passes"],
    ["a wrong key", LOCKED, bearer(`${KEY}x`), "unauthorized"],
    ["an empty key", LOCKED, { Authorization: "Bearer " }, "unauthorized"],
    ["an empty X-API-Key", LOCKED, { "X-API-Key": "" }, "unauthorized"],
    ["another scheme", LOCKED, { Authorization: `Basic ${btoa(`x:${KEY}`)}` }, "unauthorized"],
    ["two keys", LOCKED, bearer(`${KEY} ${KEY}`), "unauthorized"],
    ["a wrong key if none is needed", OPEN, bearer("wrong"), "unauthorized"],
    ["a key if the server has none", LOOPBACK, bearer(KEY), "unauthorized"],
    ["the key, from anywhere", OPEN, { ...bearer(KEY), Host: "evil.example", Origin: "http://evil.example" }, "passes"],
    ["the key, from another site", LOCKED, { ...bearer(KEY), "Sec-Fetch-Site": "cross-site" }, "passes"],
  ])("%s", (_name, policy, headers, expected) => {
    expect(verdict(policy, headers, "203.0.113.9")).toBe(expected);
  });
});

describe("createAccessCheck, for clients of another platform", () => {
  const credentials = (always_sent: boolean): Needs => ({
    scopes: [],
    credentials: { keyIn: ({ headers }) => headers.get("x-their-key") ?? undefined, always_sent },
  });
  const theirs = (key: string) => ({ "X-Their-Key": key });

  test.each<readonly [string, AccessPolicy, Record<string, string>, boolean, string]>([
    ["the key in their place", LOCKED, theirs(KEY), true, "passes"],
    ["the key in our place only", LOCKED, bearer(KEY), true, "unauthorized"],
    ["no key if one is needed", LOCKED, {}, true, "unauthorized"],
    ["what they always send, if a key is needed", LOCKED, theirs("test"), true, "unauthorized"],
    ["what they always send, if none is needed", OPEN, theirs("test"), true, "passes"],
    ["the same to a server without keys", LOOPBACK, theirs("test"), true, "passes"],
    ["what looks like a key of ours", OPEN, theirs("slipway_old"), true, "unauthorized"],
    ["a wrong key of clients that can do without", OPEN, theirs("test"), false, "unauthorized"],
    [
      "what they always send, from another site",
      OPEN,
      { ...theirs("test"), "Sec-Fetch-Site": "cross-site" },
      true,
      "forbidden",
    ],
    ["the same through a proxy", OPEN, { ...theirs("test"), "X-Forwarded-For": "1.2.3.4" }, true, "forbidden"],
    ["the same by another name", OPEN, { ...theirs("test"), Host: "evil.example" }, true, "misdirected_request"],
  ])("%s", (_name, policy, headers, alwaysSent, expected) => {
    expect(verdict(policy, headers, "127.0.0.1", credentials(alwaysSent))).toBe(expected);
  });

  test("what they always send, from another machine", () => {
    expect(verdict(OPEN, theirs("test"), "203.0.113.9", credentials(true))).toBe("unauthorized");
  });

  test("where it does not pass, it was a guess at a key: counted, limited and recorded", () => {
    let guesses = 0;
    const refused: number[] = [];
    const policy: AccessPolicy = {
      ...OPEN,
      guesses: { failed: () => (++guesses > 2 ? 12 : undefined) },
      audit: { refused: ({ status }) => void refused.push(status) },
    };
    const from = (address: string) => verdict(policy, theirs("test"), address, credentials(true));
    expect(["203.0.113.9", "203.0.113.9", "203.0.113.9"].map(from)).toEqual([
      "unauthorized",
      "unauthorized",
      "too_many_requests",
    ]);
    expect(refused).toEqual([401, 401, 429]);
    expect(from("127.0.0.1")).toBe("passes");
    expect(verdict(policy, {}, "203.0.113.9", credentials(true))).toBe("unauthorized");
    expect([guesses, refused.length]).toEqual([3, 3]);
  });

  test("a key that was revoked is refused", () => {
    const dead: Identification = { refused: "dead", message: "The API key was revoked", key_id: "old" };
    const policy = { ...OPEN, keys: { identify: () => dead } };
    expect(verdict(policy, theirs("my-own"), "127.0.0.1", credentials(true))).toBe("unauthorized");
  });
});

describe("createAccessCheck, by the scope of the key", () => {
  const scoped = (...scopes: Scope[]): AccessPolicy => ({
    ...LOCKED,
    keys: { identify: () => ({ caller: { key_id: "k", scopes, function_id: null } }) },
  });
  test.each<readonly [Scope[], Scope[], string]>([
    [["read"], ["read"], "passes"],
    [["read"], ["deploy", "read"], "passes"],
    [["invoke", "deploy"], ["deploy"], "passes"],
    [["admin"], ["deploy"], "passes"],
    [["admin"], [], "passes"],
    [["read"], ["deploy"], "forbidden"],
    [["deploy"], ["read"], "forbidden"],
    [["deploy", "read", "invoke"], ["admin"], "forbidden"],
    [["deploy", "read", "invoke"], [], "forbidden"],
  ])("a key with %j if %j is needed", (scopes, needed, expected) => {
    expect(verdict(scoped(...scopes), bearer("any"), "203.0.113.9", { scopes: needed })).toBe(expected);
  });

  test("a key that is sent is checked even on loopback", () => {
    const policy = { ...scoped("read"), loopback: true, key_required: false };
    expect(verdict(policy, bearer("any"), "127.0.0.1", { scopes: ["deploy"] })).toBe("forbidden");
    expect(verdict(policy, {}, "127.0.0.1", { scopes: ["deploy"] })).toBe("passes");
  });

  test("an endpoint may require a key wherever the request comes from", () => {
    const needs: Needs = { scopes: ["invoke"], key_always: true };
    expect(verdict(LOOPBACK, {}, "127.0.0.1", needs)).toBe("unauthorized");
    expect(verdict(scoped("invoke"), bearer("any"), "203.0.113.9", needs)).toBe("passes");
  });

  test("the message names the scopes that are needed, and those of the key", () => {
    const caller = { key_id: "k", scopes: ["invoke", "read"] as const, function_id: null };
    expect(thrownBy(() => checkScope(caller, ["deploy"]))).toMatchObject({
      message:
        'This needs a key with the scope "deploy" or "admin", but yours has "invoke" and "read": ' +
        "an administrator can make another with POST /v1/keys",
    });
  });
});

describe("createAccessCheck, by the session of a browser", () => {
  const cookie = { Cookie: `other=1; slipway-session-9999=${SESSION}` };
  const own = { ...cookie, Origin: "http://localhost:9999", "Sec-Fetch-Site": "same-origin" };
  const read: Needs = { scopes: ["read"] };
  test.each<readonly [string, AccessPolicy, Record<string, string>, Needs, string]>([
    ["of a page of ours", LOCKED, own, read, "passes"],
    ["of a page of ours, without rights", LOCKED, own, { scopes: ["deploy"] }, "forbidden"],
    ["on loopback too, where none is needed", LOOPBACK, own, { scopes: ["deploy"] }, "forbidden"],
    ["of an address that was typed in", LOCKED, { ...cookie, "Sec-Fetch-Site": "none" }, read, "passes"],
    ["of an older browser", LOCKED, cookie, read, "passes"],
    ["of a page on another port", LOCKED, { ...cookie, "Sec-Fetch-Site": "same-site" }, read, "forbidden"],
    ["of another origin", LOCKED, { ...cookie, Origin: "http://localhost:3000" }, read, "forbidden"],
    [
      "of a link on another port",
      LOCKED,
      { ...cookie, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" },
      read,
      "passes",
    ],
    [
      "of a frame on another port",
      LOCKED,
      { ...cookie, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe" },
      read,
      "forbidden",
    ],
    ["that is unknown", LOCKED, { Cookie: "slipway-session-9999=x" }, read, "unauthorized"],
    ["that is unknown where none is needed", LOOPBACK, { Cookie: "slipway-session-9999=x" }, read, "passes"],
    ["of a server on another port", LOCKED, { Cookie: `slipway-session-1=${SESSION}` }, read, "unauthorized"],
    ["at a route that needs a key", LOCKED, own, { ...read, key_always: true }, "unauthorized"],
    ["beside a key, which counts", LOCKED, { ...own, ...bearer(KEY) }, { scopes: ["deploy"] }, "passes"],
  ])("%s", (_name, policy, headers, needs, expected) => {
    expect(verdict(policy, headers, "203.0.113.9", needs)).toBe(expected);
  });
});

describe("createAccessCheck, where a GET has effects", () => {
  const credentials = { keyIn: () => undefined, always_sent: false, no_session: true };
  const needs: Needs = { scopes: ["read"], credentials };
  const cookie = { Cookie: `slipway-session-9999=${SESSION}` };
  const link = { "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" };
  const browser = { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)" };
  const named = { ...browser, Host: "slipway.example" };
  test.each<readonly [string, AccessPolicy, Record<string, string>, string]>([
    ["the session of a link on another port", LOCKED, { ...cookie, ...link }, "unauthorized"],
    ["the same where no key is needed", LOOPBACK, { ...cookie, ...link }, "forbidden"],
    ["the session of a page of ours", LOCKED, { ...cookie, "Sec-Fetch-Site": "same-origin" }, "unauthorized"],
    ["a browser on this machine that says nothing", LOOPBACK, browser, "passes"],
    ["a browser by another name that says nothing", LOOPBACK, named, "forbidden"],
    ["one that says whose page asks", LOOPBACK, { ...named, "Sec-Fetch-Site": "same-origin" }, "passes"],
    ["a program by another name", LOOPBACK, { "User-Agent": "curl/8.0", Host: "slipway.example" }, "passes"],
  ])("%s", (_name, policy, headers, expected) => {
    expect(verdict(policy, headers, "127.0.0.1", needs)).toBe(expected);
  });

  test("elsewhere a browser by another name may look", () => {
    expect(verdict(LOOPBACK, named)).toBe("passes");
  });
});

describe("createAccessCheck, by earlier wrong keys", () => {
  const slow: AccessPolicy = { ...LOCKED, guesses: { failed: () => 24 } };
  test.each<readonly [string, AccessPolicy, Record<string, string>, string]>([
    ["a wrong key is too many", slow, bearer("wrong"), "too_many_requests"],
    ["the right key passes", slow, bearer(KEY), "passes"],
    ["no key is not a guess", slow, {}, "unauthorized"],
    ["if the server has no key, none is a guess", { ...slow, keys: NO_KEY }, bearer("any"), "unauthorized"],
    [
      "a revoked key is not a guess",
      { ...slow, keys: { identify: () => ({ refused: "dead", message: "revoked", key_id: "k" }) } },
      bearer("any"),
      "unauthorized",
    ],
  ])("%s", (_name, policy, headers, expected) => {
    expect(verdict(policy, headers, "203.0.113.9")).toBe(expected);
  });
});

describe("createAccessCheck, by the caller, with AUTH=off on an open address", () => {
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

describe("createAccessCheck, by the Host of a request without a key", () => {
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
    ["a@b.localhost", "misdirected_request"],
    ["evil.example/.localhost", "misdirected_request"],
    [".localhost", "misdirected_request"],
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

describe("createAccessCheck, by the proxy that a request came through", () => {
  const forwarding: readonly Record<string, string>[] = [
    { Forwarded: "for=203.0.113.9" },
    { "X-Forwarded-For": "203.0.113.9" },
    { "x-forwarded-for": "127.0.0.1" },
    { "X-Forwarded-For": "" },
    { "X-FORWARDED-PROTO": "https" },
    { "X-Forwarded-Host": "localhost" },
    { "X-Forwarded-Server": "a" },
    { "X-Forwarded-Anything": "a" },
    { "X-Real-IP": "127.0.0.1" },
    { Via: "1.1 Caddy" },
    { "X-Original-Forwarded-For": "203.0.113.9" },
    { "CF-Connecting-IP": "203.0.113.9" },
    { "True-Client-IP": "203.0.113.9" },
  ];

  test.each(forwarding)("%j needs a key, on whatever address and under whatever name", (headers) => {
    for (const policy of [LOOPBACK, OPEN, { ...LOOPBACK, allowed_hosts: ["slipway.example"] }]) {
      expect(verdict(policy, headers)).toBe("forbidden");
      expect(verdict(policy, { ...headers, Host: "slipway.example" })).toBe("forbidden");
    }
    expect(verdict(LOCKED, headers)).toBe("unauthorized");
    for (const policy of [LOCKED, OPEN]) {
      expect(verdict(policy, { ...headers, ...bearer(KEY) }, "203.0.113.9")).toBe("passes");
      expect(verdict(policy, { ...headers, ...bearer("wrong") })).toBe("unauthorized");
    }
  });

  test.each([{ Viable: "x" }, { "X-Request-Id": "x" }, { From: "x" }, { Referer: "http://x/" }])(
    "%j is sent by callers themselves",
    (headers) => {
      expect(verdict(LOOPBACK, headers)).toBe("passes");
    },
  );
});

describe("createAccessCheck, by the site of a request without a key", () => {
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

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  isHeaderName,
  isHeaderValue,
  requestHeaders,
  responseHeaderProblem,
  storableHeaders,
} from "../../../lib/domain/calls/headers.ts";

const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

const name = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
const value = fc.stringMatching(/^[\t\u0020-\u007e\u0080-\u00ff]{0,20}$/);

describe("requestHeaders", () => {
  test("hands over headers in lower case, several values of one name joined", () => {
    const headers = new Headers({ "Content-Type": "text/plain", COOKIE: "a=b" });
    headers.append("X-Many", "1");
    headers.append("x-many", "2");
    headers.append("__proto__", "p");
    const expected = [
      ["__proto__", "p"],
      ["content-type", "text/plain"],
      ["cookie", "a=b"],
      ["x-many", "1, 2"],
    ] as const;
    expect(new Map(Object.entries(requestHeaders(headers, false)))).toEqual(new Map(expected));
  });

  test.each([
    ["of a caller with a key for this server", true, []],
    ["that belong to the function", false, ["authorization", "x-api-key"]],
  ])("treats credentials %s as such", (_, withoutCredentials, expected) => {
    const headers = new Headers({ authorization: "Bearer x", "x-api-key": "y" });
    expect(Object.keys(requestHeaders(headers, withoutCredentials)).toSorted()).toEqual(expected);
  });

  test("never lets a hop-by-hop header pass, nor one that Connection names, nor one that is malformed", () => {
    const entry = fc.tuple(fc.oneof(name, fc.constantFrom(...HOP_BY_HOP)), value);
    fc.assert(
      fc.property(fc.array(entry), fc.array(name), fc.constantFrom(",", " , ", ",,"), (entries, ended, separator) => {
        const headers = new Headers(entries);
        if (ended.length > 0) headers.set("connection", ended.map((one) => one.toUpperCase()).join(separator));
        const passed = requestHeaders(headers, false);
        for (const [passing, text] of Object.entries(passed)) {
          expect([...HOP_BY_HOP, ...ended]).not.toContain(passing);
          expect(isHeaderName(passing) && isHeaderValue(text)).toBe(true);
        }
        for (const [given] of entries) {
          const meant =
            !HOP_BY_HOP.includes(given) && !ended.includes(given) && (ended.length > 0 || !headers.has("connection"));
          if (meant) expect(passed[given]).toBe(headers.get(given) ?? "");
        }
      }),
    );
  });
});

test.each([
  ["x-a", true],
  ["X-A", true],
  ["!#$%&'*+.^_`|~-", true],
  ["__proto__", true],
  ["", false],
  ["a b", false],
  ["a:", false],
  ["a\r\nb", false],
  ["é", false],
  ["a\n", false],
])("isHeaderName(%j) is %p", (text, expected) => expect(isHeaderName(text)).toBe(expected));

test.each([
  ["", true],
  ["a b\tc", true],
  ["caf\u00e9", true],
  ["a\nb", false],
  ["a\r", false],
  ["a\n", false],
  ["a\0", false],
  ["\u007f", false],
  ["\u0100", false],
  ["😀", false],
])("isHeaderValue(%j) is %p", (text, expected) => expect(isHeaderValue(text)).toBe(expected));

test("Headers accepts every header that passes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (key, text) => {
      if (!isHeaderName(key) || !isHeaderValue(text)) return;
      expect(new Headers([[key, text]]).get(key)).toBe(text.replace(/^[\t ]+|[\t ]+$/g, ""));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ...HOP_BY_HOP.map((one) => [one, "connection"] as const),
  ["content-length", "the server sets it"],
  ["x-request-id", "the server sets it"],
  ["x-function-exit-code", "the server sets it"],
  ["server-timing", "the server sets it"],
  ["x-content-type-options", "the server sets it"],
  ["clear-site-data", "all that this server answers"],
  ["report-to", "all that this server answers"],
  ["strict-transport-security", "all that this server answers"],
  // C5: what browsers keep for the origin, and what proxies act on.
  ...["accept-ch", "critical-ch", "set-login", "reporting-endpoints", "public-key-pins", "expect-ct"].map(
    (one) => [one, "all that this server answers"] as const,
  ),
  ...[
    "x-accel-redirect",
    "x-accel-buffering",
    "x-accel-new-in-2030",
    "x_accel_redirect",
    "x-sendfile",
    "x-sendfile2",
  ].map((one) => [one, "a proxy in front of this server"] as const),
  ...["x-lighttpd-send-file", "x-litespeed-location", "x-litespeed-purge", "x-reproxy-url", "x-reproxy-file"].map(
    (one) => [one, "a proxy in front of this server"] as const,
  ),
  ["x-envoy-immediate-health-check-fail", "a proxy in front of this server"],
])("responseHeaderProblem refuses %s", (header, why) => expect(responseHeaderProblem(header)).toContain(why));

test.each(["content-type", "location", "set-cookie", "cache-control", "etag", "content-security-policy", "x-mine"])(
  "responseHeaderProblem lets %s pass",
  (header) => expect(responseHeaderProblem(header)).toBeUndefined(),
);

// EDGE.md E9.
describe("storableHeaders", () => {
  test.each([
    "authorization",
    "proxy-authorization",
    "x-forwarded-authorization",
    "cookie",
    "x-api-key",
    "x_api_key",
    "apikey",
    "api-key",
    "ocp-apim-subscription-key",
    "x-functions-key",
    "x-auth-key",
    "x-auth",
    "x-auth-token",
    "x-access-token",
    "x-accesstoken",
    "x-amz-security-token",
    "x-amzn-oidc-data",
    "x-csrf-token",
    "private-token",
    "x-vault-token",
    "cf-access-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "x-session-id",
    "x-client-secret",
    "x-password",
    "x-token2",
  ])("leaves out %s", (name) => {
    expect(storableHeaders({ [name]: "s3cret", accept: "*/*" })).toEqual({ accept: "*/*" });
  });

  test.each([
    "accept",
    "content-type",
    "idempotency-key",
    "x-hub-signature-256",
    "stripe-signature",
    "x-request-id",
    "x-author",
    "x-auth-request-email",
    "x-tokenizer",
    "x-passage",
    "x-keyboard",
    "user-agent",
    "x-forwarded-for",
    "__proto__",
  ])("keeps %s", (name) => {
    const headers = Object.fromEntries([[name, "1"]]);
    expect(Object.entries(storableHeaders(headers))).toEqual([[name, "1"]]);
  });
});

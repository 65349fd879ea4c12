import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { allowedOrigin } from "../../../lib/domain/routes/cors.ts";
import {
  checkRouteOptions,
  fullOptions,
  ROUTE_DEFAULTS,
  type RouteOptions,
} from "../../../lib/domain/routes/options.ts";

const CORS = { headers: [], exposed_headers: [], credentials: false, max_age_s: 600 };

function checkWith(options: Partial<RouteOptions>): void {
  checkRouteOptions({ ...ROUTE_DEFAULTS, ...options });
}

describe("fullOptions", () => {
  test("leaves absent options out, and keeps null", () => {
    expect(fullOptions({})).toEqual({});
    expect(fullOptions({ cors: null, rate_limit: null, methods: ["GET"] })).toEqual({
      cors: null,
      rate_limit: null,
      methods: ["GET"],
    });
  });

  test("fills in inner defaults", () => {
    expect(fullOptions({ cors: { origins: ["*"] }, rate_limit: { requests: 1, window_ms: 1_000 } })).toEqual({
      cors: { origins: ["*"], headers: ["content-type"], exposed_headers: [], credentials: false, max_age_s: 600 },
      rate_limit: { requests: 1, window_ms: 1_000, by: "address" },
    });
    const given = { origins: ["*"], headers: [], exposed_headers: ["x"], credentials: true, max_age_s: 0 };
    expect(fullOptions({ cors: given }).cors).toEqual(given);
  });
});

describe("checkRouteOptions", () => {
  test.each([
    "*",
    "https://example.com",
    "http://localhost:3000",
    "http://127.0.0.1",
    "http://[::1]:8080",
    "https://xn--e1afmkfd.xn--p1ai",
    "chrome-extension://abcdefghij",
    "capacitor://localhost",
  ])("accepts the origin %s", (origin) => {
    expect(() => checkWith({ cors: { ...CORS, origins: [origin] } })).not.toThrow();
  });

  test.each([
    ["https://example.com/", 'did you mean "https://example.com"?'],
    ["https://Example.com", 'did you mean "https://example.com"?'],
    ["https://example.com:443", 'did you mean "https://example.com"?'],
    ["http://example.com:80/a?b#c", 'did you mean "http://example.com"?'],
    ["https://user@example.com", 'did you mean "https://example.com"?'],
    ["https://пример.рф", 'did you mean "https://xn--e1afmkfd.xn--p1ai"?'],
    ["capacitor://localhost/", 'did you mean "capacitor://localhost"?'],
    ["example.com", "give scheme, host and port"],
    ["localhost:3000", "give scheme, host and port"],
    ["//example.com", "give scheme, host and port"],
    ["file:///a", "give scheme, host and port"],
    ["", "give scheme, host and port"],
    ["null", "any page can have that origin"],
    ["https://*.example.com", '"*" is not a pattern'],
    ["https://example.com\n", "did you mean"],
  ])("refuses the origin %j: %s", (origin, problem) => {
    const message = `Invalid "cors/origins/1" ${JSON.stringify(origin)}: `;
    const check = () => checkWith({ cors: { ...CORS, origins: ["https://a.example", origin] } });
    expect(check).toThrow(expect.objectContaining({ reason: "invalid_request" }));
    expect(check).toThrow(message);
    expect(check).toThrow(problem);
  });

  test.each<[Partial<RouteOptions>, string]>([
    [
      { cors: { ...CORS, origins: ["*", "https://a.example"] } },
      'Invalid "cors/origins": "*" includes all others: leave them out, or "*"',
    ],
    [
      { cors: { ...CORS, origins: ["*"], credentials: true } },
      'Invalid "cors/credentials" true: browsers refuse it with "*" in "cors/origins": name the origins',
    ],
    [
      { cors: { ...CORS, origins: ["https://a.example"], headers: ["*"], credentials: true } },
      'Invalid "cors/credentials" true: browsers refuse it with "*" in "cors/headers": name the headers',
    ],
    [
      { cors: { ...CORS, origins: ["https://a.example"], exposed_headers: ["*"], credentials: true } },
      'Invalid "cors/credentials" true: browsers refuse it with "*" in "cors/exposed_headers": name the exposed headers',
    ],
    [
      { rate_limit: { requests: 1, window_ms: 1_000, by: "key" } },
      'Invalid "rate_limit/by" "key": a public route checks no keys: set "auth" to "key" too, or limit by "address"',
    ],
  ])("refuses %j", (options, message) => {
    expect(() => checkWith(options)).toThrow(expect.objectContaining({ reason: "invalid_request", message }));
  });

  test("accepts compatible options", () => {
    expect(() => checkWith({})).not.toThrow();
    expect(() =>
      checkWith({ cors: { ...CORS, origins: ["*"], headers: ["*"], exposed_headers: ["*"] } }),
    ).not.toThrow();
    expect(() => checkWith({ auth: "key", rate_limit: { requests: 1, window_ms: 1_000, by: "key" } })).not.toThrow();
  });
});

describe("allowedOrigin", () => {
  const origin = fc
    .tuple(
      fc.constantFrom("http", "https"),
      fc.constantFrom("a.example", "b.example", "a.example.evil.example", "evil-a.example", "localhost"),
      fc.constantFrom("", ":8080"),
    )
    .map(([scheme, host, port]) => `${scheme}://${host}${port}`);
  const sent = fc.oneof(
    origin,
    fc.constantFrom("null", "*", "", "https://a.example/", "HTTPS://A.EXAMPLE"),
    fc.string(),
  );

  test("is the page's own origin if it is listed exactly, and null for any other", () => {
    fc.assert(
      fc.property(fc.uniqueArray(origin, { minLength: 1, maxLength: 4 }), fc.option(sent), (origins, one) => {
        expect(allowedOrigin({ origins }, one)).toBe(one !== null && origins.includes(one) ? one : null);
        expect(allowedOrigin({ origins: ["*"] }, one)).toBe("*");
      }),
    );
  });
});

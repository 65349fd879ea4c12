import { describe, expect, test } from "bun:test";
import type { Cors } from "../../../lib/domain/routes/cors.ts";
import { preflightAnswer, setCors } from "../../../lib/http/calls/cors.ts";

const PAGE = "https://page.example";
const CORS: Cors = {
  origins: [PAGE, "https://other.example"],
  headers: ["content-type", "authorization"],
  exposed_headers: ["x-request-id", "ratelimit"],
  credentials: false,
  max_age_s: 600,
};
const METHODS = { methods: ["GET", "PUT"], allow: ["GET", "HEAD", "OPTIONS", "PUT"] };

/** The CORS headers of an answer for which the function set `own`. */
function answered(cors: Partial<Cors>, origin: string | null, own: Record<string, string> = {}) {
  const headers = new Headers(own);
  setCors(headers, { ...CORS, ...cors }, origin);
  return headers.toJSON();
}

function preflighted(cors: Partial<Cors>, origin: string | null) {
  const response = preflightAnswer({ ...CORS, ...cors }, origin, METHODS);
  expect([response.status, response.body]).toEqual([204, null]);
  return response.headers.toJSON();
}

const EXPOSED = { "access-control-expose-headers": "x-request-id, ratelimit" };

describe("setCors", () => {
  test("echoes an allowed origin, with the headers that it may read", () => {
    expect(answered({}, PAGE)).toEqual({ "access-control-allow-origin": PAGE, vary: "Origin", ...EXPOSED });
    expect(answered({ exposed_headers: [] }, PAGE)).toEqual({ "access-control-allow-origin": PAGE, vary: "Origin" });
  });

  test.each([null, "", "null", "https://evil.example", `${PAGE}:8443`, PAGE.toUpperCase()])(
    "answers %j with Vary: Origin only",
    (origin) => {
      expect(answered({}, origin)).toEqual({ vary: "Origin" });
      expect(answered({ credentials: true }, origin)).toEqual({ vary: "Origin" });
    },
  );

  test("answers * to every origin", () => {
    const all = { "access-control-allow-origin": "*", ...EXPOSED };
    expect(answered({ origins: ["*"] }, PAGE)).toEqual(all);
    expect(answered({ origins: ["*"] }, null)).toEqual(all);
  });

  test("names the origin if credentials are allowed", () => {
    const both = { "access-control-allow-origin": PAGE, "access-control-allow-credentials": "true" };
    expect(answered({ credentials: true }, PAGE)).toEqual({ ...both, vary: "Origin", ...EXPOSED });
  });

  test("keeps the answer's Vary, and drops the function's own CORS headers", () => {
    const own = {
      Vary: "Accept",
      "Access-Control-Allow-Origin": "*",
      "Access-Control-Allow-Credentials": "true",
      "Access-Control-Expose-Headers": "*",
    };
    expect(answered({}, "https://evil.example", own)).toEqual({ vary: "Accept, Origin" });
    expect(answered({}, PAGE, own)).toEqual({
      "access-control-allow-origin": PAGE,
      vary: "Accept, Origin",
      ...EXPOSED,
    });
  });
});

describe("preflightAnswer", () => {
  test("lists for an allowed origin what it may send", () => {
    expect(preflighted({}, PAGE)).toEqual({
      allow: "GET, HEAD, OPTIONS, PUT",
      vary: "Origin",
      "access-control-allow-origin": PAGE,
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "content-type, authorization",
      "access-control-max-age": "600",
    });
  });

  test("leaves out Access-Control-Allow-Headers if none may be sent", () => {
    expect(preflighted({ headers: [], max_age_s: 0, origins: ["*"] }, PAGE)).toEqual({
      allow: "GET, HEAD, OPTIONS, PUT",
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "GET, PUT",
      "access-control-max-age": "0",
    });
  });

  test.each([null, "https://evil.example"])("lists for %j only the methods", (origin) => {
    expect(preflighted({ credentials: true }, origin)).toEqual({ allow: "GET, HEAD, OPTIONS, PUT", vary: "Origin" });
  });
});

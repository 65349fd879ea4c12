import { expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { isSessionCookie, requestHeaders } from "../../../lib/domain/calls/headers.ts";
import { checkOwnPage } from "../../../lib/http/access/own-page.ts";
import { sessionCookie, sessionIn } from "../../../lib/http/access/session-cookie.ts";

const OWN = { "Sec-Fetch-Site": "same-origin", Origin: "http://localhost:9999", "X-Slipway-Page": "1" };

test.each<readonly [string, string, Record<string, string>, string]>([
  ["a change by a page of ours", "POST", OWN, "passes"],
  ["a change without the header", "POST", { ...OWN, "X-Slipway-Page": undefined as never }, "forbidden"],
  ["a change of a browser that does not say where from", "POST", { "X-Slipway-Page": "1" }, "forbidden"],
  [
    "a change of a browser that says the origin only",
    "DELETE",
    { Origin: OWN.Origin, "X-Slipway-Page": "1" },
    "passes",
  ],
  ["a change by an address that was typed in", "POST", { ...OWN, "Sec-Fetch-Site": "none" }, "forbidden"],
  ["a change by another port", "POST", { ...OWN, "Sec-Fetch-Site": "same-site" }, "forbidden"],
  ["a change by another origin", "PATCH", { ...OWN, Origin: "http://localhost:3000" }, "forbidden"],
  ["a change by a page without an origin", "POST", { ...OWN, Origin: "null" }, "forbidden"],
  [
    "a form that is sent by another site",
    "POST",
    { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" },
    "forbidden",
  ],
  ["a look by a page of ours", "GET", { "Sec-Fetch-Site": "same-origin" }, "passes"],
  ["a look by another site", "GET", { "Sec-Fetch-Site": "cross-site" }, "forbidden"],
])("checkOwnPage: %s", (_name, method, given, expected) => {
  const headers = Object.entries({ Host: "localhost:9999", ...given }).filter(([, value]) => value !== undefined);
  const request = new Request("http://localhost:9999/v1/functions", { method, headers });
  let outcome = "passes";
  try {
    checkOwnPage(request);
  } catch (error) {
    outcome = error instanceof AppError ? error.reason : String(error);
  }
  expect(outcome).toBe(expected);
});

test("the cookie of a login is for this server only, and secure with TLS", () => {
  const request = (cookie: string) =>
    new Request("http://localhost/", { headers: { Host: "localhost:9999", Cookie: cookie } });
  expect(sessionCookie(request(""), false, "abc", 60)).toBe(
    "slipway-session-9999=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict",
  );
  expect(sessionCookie(request(""), true, "abc", 60)).toBe(
    "__Host-slipway-session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure",
  );
  const both = request("a=b; slipway-session-9999=plain;__Host-slipway-session=secure");
  expect([sessionIn(both, false), sessionIn(both, true)]).toEqual(["plain", "secure"]);
  expect(sessionIn(request("xslipway-session-9999=plain; slipway-session-99=x"), false)).toBeUndefined();
  expect(sessionIn(new Request("http://localhost/"), true)).toBeUndefined();
});

test("no function gets the cookie of a login, and the others as they were sent", () => {
  const passed = (cookie: string) => requestHeaders(new Headers({ cookie, "x-other": "1" }), false);
  expect(passed("a=b; slipway-session-9999=x; c=d")).toEqual({ cookie: "a=b; c=d", "x-other": "1" });
  expect(passed("__Host-slipway-session=x")).toEqual({ "x-other": "1" });
  expect(passed("__Host-Slipway-Session=x; SLIPWAY-SESSION-1 =y; slipway-session=z")).toEqual({ "x-other": "1" });
  expect(passed("theme=slipway-session;  b=1")).toEqual({ cookie: "theme=slipway-session;  b=1", "x-other": "1" });
  expect(isSessionCookie("slipway-session-9999=theirs; Path=/")).toBe(true);
  expect(isSessionCookie("my-slipway-session=1; Path=/")).toBe(false);
});

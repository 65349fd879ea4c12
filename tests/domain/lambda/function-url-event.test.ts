import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { BufferedRequest, HttpOrigin } from "../../../lib/domain/calls/http-message.ts";
import { functionUrlEvent } from "../../../lib/domain/lambda/function-url-event.ts";

const FACTS = { id: "a8c8169b-02fb-4762-8419-1fbbd4f7b336", time_ms: Date.UTC(2020, 2, 12, 19, 3, 58, 390) };

const VIA: HttpOrigin = {
  path: "/shop/my/path",
  path_rest: "my/path",
  route: "/shop/*",
  query: {},
  query_string: "",
  client_address: "203.0.113.7",
};

function eventOf(given: Partial<BufferedRequest> = {}) {
  const request = { method: "GET", url: "/r/shop/my/path", headers: {}, body: new Uint8Array(), via: VIA, ...given };
  return functionUrlEvent(request, FACTS);
}

describe("functionUrlEvent", () => {
  test("has all that a function URL says of a request", () => {
    const event = eventOf({
      method: "POST",
      url: "/r/shop/my/path?parameter1=value1&parameter1=value2&parameter2=a%20b",
      headers: {
        host: "shop.example.com:8443",
        "user-agent": "agent/1",
        cookie: "cookie1=a; cookie2=b=c",
        header2: "value1, value2",
        "content-type": "text/plain",
      },
      body: Buffer.from("Hello, wörld"),
      via: { ...VIA, encrypted: true },
    });
    expect(event).toEqual({
      version: "2.0",
      routeKey: "$default",
      rawPath: "/my/path",
      rawQueryString: "parameter1=value1&parameter1=value2&parameter2=a%20b",
      cookies: ["cookie1=a", "cookie2=b=c"],
      headers: {
        host: "shop.example.com:8443",
        "user-agent": "agent/1",
        cookie: "cookie1=a; cookie2=b=c",
        header2: "value1, value2",
        "content-type": "text/plain",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "8443",
        "x-forwarded-prefix": "/r/shop",
        "x-forwarded-proto": "https",
      },
      queryStringParameters: { parameter1: "value1,value2", parameter2: "a b" },
      requestContext: {
        accountId: "anonymous",
        apiId: "shop",
        domainName: "shop.example.com",
        domainPrefix: "shop",
        http: {
          method: "POST",
          path: "/my/path",
          protocol: "HTTP/1.1",
          sourceIp: "203.0.113.7",
          userAgent: "agent/1",
        },
        requestId: FACTS.id,
        routeKey: "$default",
        stage: "$default",
        time: "12/Mar/2020:19:03:58 +0000",
        timeEpoch: FACTS.time_ms,
      },
      body: "Hello, wörld",
      isBase64Encoded: false,
    });
  });

  test("leaves out what would be empty, as a recorded event of AWS does", () => {
    // The fields of an event that AWS has sent for a GET without cookies (its values are of no account here).
    const recorded = [
      "version",
      "routeKey",
      "rawPath",
      "rawQueryString",
      "headers",
      "requestContext",
      "isBase64Encoded",
    ];
    expect(Object.keys(eventOf())).toEqual(recorded);
    expect(Object.keys(eventOf().requestContext).join()).toBe(
      "accountId,apiId,domainName,domainPrefix,http,requestId,routeKey,stage,time,timeEpoch",
    );
  });

  test.each([
    ["by an exact route", "/r/hello", { ...VIA, path: "/hello", path_rest: null, route: "/hello" }, "/"],
    ["at a host", "/a/%C3%A9?x", { ...VIA, host: "h.example", path_rest: "a/é", route: "h.example/*" }, "/a/%C3%A9"],
  ])("has the path that is the function's %s", (_, url, via, rawPath) => {
    expect(eventOf({ url, via }).rawPath).toBe(rawPath);
  });

  test.each([
    ["127.0.0.1:8080", "127.0.0.1", "127.0.0.1", "8080"],
    ["[::1]:8080", "[::1]", "[::1]", "8080"],
    ["localhost", "localhost", "localhost", "80"],
    ["a.b.example", "a.b.example", "a", "80"],
  ])("names the domain of the host %s", (host, domainName, domainPrefix, port) => {
    const event = eventOf({ headers: { host } });
    expect(event.requestContext).toMatchObject({ domainName, domainPrefix, apiId: domainPrefix });
    expect(event.headers["x-forwarded-port"]).toBe(port);
  });

  test("no caller writes what is said of its connection", () => {
    const headers = { "x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "https", forwarded: "for=10.0.0.1" };
    const event = eventOf({ headers });
    expect(event.headers).toMatchObject({ "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "http" });
    expect(event.headers).not.toHaveProperty("forwarded");
    const unknown = eventOf({ headers, via: { ...VIA, client_address: null } });
    expect(unknown.headers).not.toHaveProperty("x-forwarded-for");
    expect(unknown.requestContext.http.sourceIp).toBe("");
  });

  test.each([
    ["bytes that are not UTF-8", Buffer.from([0xff, 0x00, 0x80]), "/wCA", true],
    ["text with a byte order mark", Buffer.from("\ufeffa"), "\ufeffa", false],
    ["a NUL", Buffer.from([0]), "\0", false],
  ])("carries %s", (_, body, text, isBase64Encoded) => {
    expect(eventOf({ body })).toMatchObject({ body: text, isBase64Encoded });
  });

  test("any body comes back from the event's JSON", () => {
    const property = fc.property(fc.oneof(fc.uint8Array(), fc.string({ unit: "grapheme" }).map(toBytes)), (body) => {
      const event = JSON.parse(JSON.stringify(eventOf({ body }))) as { body?: string; isBase64Encoded: boolean }; // as a function does
      const back = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
      expect(back.equals(Buffer.from(body))).toBe(true);
    });
    fc.assert(property);
  });

  test("a header and a parameter can have any name", () => {
    const event = eventOf({
      url: "/r/shop/my/path?__proto__=1",
      headers: Object.fromEntries([["__proto__", "x"]]),
    });
    expect(Object.entries(event.headers)).toContainEqual(["__proto__", "x"]);
    expect(Object.entries(event.queryStringParameters ?? {})).toEqual([["__proto__", "1"]]);
  });
});

function toBytes(text: string): Uint8Array {
  return Buffer.from(text.toWellFormed());
}

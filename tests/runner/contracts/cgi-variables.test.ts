import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { FunctionRequest, HttpOrigin } from "../../../lib/domain/calls/http-message.ts";
import { cgiVariables } from "../../../lib/runner/contracts/cgi-variables.ts";
import { extraFrames } from "../../../lib/runner/gate-protocol/frames.ts";

const origin: HttpOrigin = {
  path: "/hello",
  path_rest: null,
  route: "/hello",
  query: {},
  query_string: "a=1&b=%20",
  client_address: "192.0.2.7",
};

const request = (headers: Record<string, string>, via: Partial<HttpOrigin> | null = {}) =>
  ({ method: "POST", url: "/r/hello?a=1&b=%20", headers, via: via && { ...origin, ...via } }) satisfies Omit<
    FunctionRequest,
    "body"
  >;

test("cgiVariables has all of CGI/1.1 that a request gives", () => {
  const headers = {
    host: "app.example.com:8443",
    "content-type": "text/plain",
    "content-length": "5",
    accept: "*/*",
    "x-forwarded-for": "198.51.100.1",
  };
  expect(cgiVariables(request(headers), 5, {})).toEqual({
    environment: {
      GATEWAY_INTERFACE: "CGI/1.1",
      SERVER_PROTOCOL: "HTTP/1.1",
      REQUEST_METHOD: "POST",
      REQUEST_URI: "/r/hello?a=1&b=%20",
      QUERY_STRING: "a=1&b=%20",
      SCRIPT_NAME: "/r/hello",
      PATH_INFO: "",
      REMOTE_ADDR: "192.0.2.7",
      REMOTE_HOST: "192.0.2.7",
      CONTENT_TYPE: "text/plain",
      CONTENT_LENGTH: "5",
    },
    defaults: {
      SERVER_SOFTWARE: "slipway",
      SERVER_NAME: "app.example.com",
      SERVER_PORT: "8443",
      REDIRECT_STATUS: "200",
      HTTP_HOST: "app.example.com:8443",
      HTTP_ACCEPT: "*/*",
      HTTP_X_FORWARDED_FOR: "198.51.100.1",
    },
    left_out: [],
  });
});

test("cgiVariables has the trace of a request under the names of OpenTelemetry, too", () => {
  const { defaults } = cgiVariables(request({ traceparent: "00-a-b-01", tracestate: "v=1" }), 0, {});
  expect(defaults).toMatchObject({ TRACEPARENT: "00-a-b-01", TRACESTATE: "v=1", HTTP_TRACEPARENT: "00-a-b-01" });
  expect(Object.keys(cgiVariables(request({}), 0, {}).defaults)).not.toContain("TRACEPARENT");
});

test.each([
  ["/hello", null, "/r/hello", ""],
  ["/git", "", "/r/git", ""],
  ["/git/", "", "/r/git", "/"],
  ["/git/a b/c", "a b/c", "/r/git", "/a b/c"],
  ["/anything", "anything", "/r", "/anything"],
  ["/", "", "/r", "/"],
])(
  "cgiVariables of the path %p with the rest %p are SCRIPT_NAME %p and PATH_INFO %p",
  (path, path_rest, script, info) => {
    const { environment } = cgiVariables(request({}, { path, path_rest, route: "/some/*" }), 0, {});
    expect(environment).toMatchObject({ SCRIPT_NAME: script, PATH_INFO: info });
  },
);

describe("cgiVariables of a call without", () => {
  test.each([
    ["a route", { route: null, path: "/", query_string: "" }, "192.0.2.7"],
    ["an HTTP request", null, undefined],
  ])("%s are those of the path /", (_, via, address) => {
    const { environment } = cgiVariables(request({ "content-type": "application/json" }, via), 2, {});
    expect(environment).toMatchObject({ SCRIPT_NAME: "", PATH_INFO: "/", QUERY_STRING: "", CONTENT_LENGTH: "2" });
    expect(environment["REMOTE_ADDR"]).toBe(address);
  });

  test("a body have no length, unless the sender says that it is 0", () => {
    expect(cgiVariables(request({}), 0, {}).environment).not.toHaveProperty("CONTENT_LENGTH");
    expect(cgiVariables(request({ "content-length": "0" }), 0, {}).environment).toMatchObject({ CONTENT_LENGTH: "0" });
  });

  test.each([undefined, "a b", "[::1", "host:port", "x:1234567", "<script>"])(
    "a usable host (%p) name localhost",
    (host) => {
      const { defaults } = cgiVariables(request(host === undefined ? {} : { host }), 0, {});
      expect(defaults).toMatchObject({ SERVER_NAME: "localhost", SERVER_PORT: "80" });
    },
  );
});

describe("cgiVariables have no variable for", () => {
  test.each(["proxy", "content-type", "content-length", "x_forwarded_for", "x.y", "x~", "a'b"])(
    "the header %s",
    (name) => {
      const { defaults } = cgiVariables(request({ [name]: "http://evil.example:3128" }), 0, {});
      expect(Object.keys(defaults).filter((one) => one.startsWith("HTTP_"))).toEqual([]);
    },
  );

  test("what no process can receive", () => {
    const { environment, left_out } = cgiVariables(
      request({}, { path: "/a\0b", path_rest: "a\0b", route: "/*" }),
      0,
      {},
    );
    expect(environment).not.toHaveProperty("PATH_INFO");
    expect(left_out).toEqual(["PATH_INFO"]);
  });

  test("what has no room beside the secrets, headers first", () => {
    const secrets = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`S${index}`, "x".repeat(62_000)]));
    const headers = { "x-a": "a".repeat(40_000), "x-b": "b".repeat(40_000), "x-c": "c" };
    const { environment, defaults, left_out } = cgiVariables(request(headers), 0, secrets);
    expect(environment).toMatchObject({ ...secrets, REQUEST_METHOD: "POST" });
    expect(left_out).toEqual(["HTTP_X_B"]);
    expect(defaults).toMatchObject({ HTTP_X_A: headers["x-a"], HTTP_X_C: "c" });
  });
});

test("cgiVariables never replace a secret", () => {
  expect(cgiVariables(request({}), 0, { REQUEST_METHOD: "secret" }).environment).toMatchObject({
    REQUEST_METHOD: "secret",
  });
});

test("cgiVariables fit into frames and into the gate, whatever the request", () => {
  const long = fc.string({ unit: fc.constantFrom("a", "é", "\u{1f600}", "\0", "="), maxLength: 40_000 });
  const header = fc.tuple(fc.stringMatching(/^[a-z-]{1,10}$/), fc.stringMatching(/^[ -~]*$/));
  fc.assert(
    fc.property(fc.array(header, { maxLength: 50 }), long, long, (headers, path, url) => {
      const all = { method: "GET", url, headers: Object.fromEntries(headers), via: { ...origin, path } };
      const { environment, defaults } = cgiVariables(all, 0, {});
      expect(() => extraFrames({ environment, defaults, files: [] })).not.toThrow();
      const total = [...Object.entries(environment), ...Object.entries(defaults)].reduce(
        (sum, [name, value]) => sum + name.length + Buffer.byteLength(value) + 3,
        0,
      );
      expect(total).toBeLessThanOrEqual(1024 * 1024);
      expect(defaults).not.toHaveProperty("HTTP_PROXY");
    }),
    { numRuns: 50 },
  );
});

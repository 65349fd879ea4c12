import { describe, expect, test } from "bun:test";
import type { FunctionRequest, HttpOrigin } from "../../../lib/domain/calls/http-message.ts";
import { httpRequest } from "../../../lib/runner/contracts/http-head.ts";

const ID = "0190a3c1-7d3e-7000-8a53-2f6f8f1f3c55";
const VIA: HttpOrigin = {
  path: "/app/x",
  path_rest: "x",
  route: "/app/*",
  query: {},
  query_string: "",
  client_address: "203.0.113.9",
};

function headersOf(headers: FunctionRequest["headers"], via: Partial<HttpOrigin> = {}): Record<string, string> {
  const request = { method: "GET", url: "/r/app/x", headers, body: new Uint8Array(0), via: { ...VIA, ...via } };
  return Object.fromEntries(httpRequest(ID, request).head.headers);
}

describe("the head of a request to a server", () => {
  test("says what is known of the caller, and drops what the caller says of itself", () => {
    const lies = {
      host: "example.com",
      forwarded: "for=192.0.2.1;proto=https",
      "x-forwarded-for": "192.0.2.1",
      "x-forwarded-host": "elsewhere.example",
      "x-forwarded-port": "443",
      "x-forwarded-proto": "https",
      "x-real-ip": "192.0.2.1",
    };
    const headers = headersOf(lies);
    expect(headers).toMatchObject({
      Host: "example.com",
      Forwarded: 'for=203.0.113.9;host="example.com";proto=http',
      "X-Forwarded-For": "203.0.113.9",
      "X-Forwarded-Host": "example.com",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Prefix": "/r/app",
    });
    expect(Object.keys(headers).filter((name) => ["x-forwarded-port", "x-real-ip"].includes(name))).toEqual([]);
  });

  test("drops the same headers in spellings that are one variable to WSGI and CGI", () => {
    const kept = { my_header: "kept", "x-my_header": "kept" };
    const spellings = ["x_forwarded_for", "x-forwarded_host", "x_forwarded_proto", "x_forwarded_prefix", "x_real_ip"];
    const others = ["x_request_id", "content_length", "script_name", "script-name"];
    const names = [...spellings, ...others];
    const headers = headersOf({
      host: "example.com",
      ...kept,
      ...Object.fromEntries(names.map((name) => [name, "1"])),
    });
    expect(Object.keys(headers).filter((name) => names.includes(name))).toEqual([]);
    expect(headers).toMatchObject(kept);
  });

  test("says https of a caller whose connection is encrypted", () => {
    expect(headersOf({ host: "example.com" }, { encrypted: true })).toMatchObject({
      Forwarded: 'for=203.0.113.9;host="example.com";proto=https',
      "X-Forwarded-Proto": "https",
    });
  });

  test("has the trace that the call is in, and a new one that nobody records if it is in none", () => {
    const trace = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "v=1" };
    expect(headersOf(trace)).toMatchObject(trace);
    const hex = ID.replaceAll("-", "");
    expect(headersOf({})["traceparent"]).toBe(`00-${hex}-${hex.slice(16)}-00`);
  });

  test("at a host of its own lets answers speak for the whole origin", () => {
    const request = { method: "GET", url: "/", headers: {}, body: new Uint8Array(0), via: VIA };
    expect(httpRequest(ID, request).own_origin).toBe(false);
    expect(httpRequest(ID, { ...request, via: { ...VIA, host: "app.example.com" } }).own_origin).toBe(true);
  });
});

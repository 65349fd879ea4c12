import { expect, test } from "bun:test";
import { openfaasCallback } from "../../../lib/services/callbacks/openfaas-callback.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";

const URL = "https://receiver.example/hook";

/** Returns the headers of a callback for a function's answer with these. */
function sentFor(headers: readonly (readonly [string, string])[]) {
  const payload = {
    invocation_id: "a",
    request: Buffer.from("{}"),
    request_meta: JSON.stringify({
      method: "POST",
      url: "/async-function/figlet",
      headers: { "x-callback-url": URL, "x-call-id": "call-1" },
      via: { path: "/async-function/figlet", route: "/async-function/figlet/*" },
    }),
    response: Buffer.from("done"),
    response_meta: JSON.stringify({ status: 200, headers }),
  };
  return openfaasCallback(someInvocation("a", { mode: "async", run_ms: 1_500 }), payload, URL)?.headers;
}

const OWN = {
  "X-Call-Id": "call-1",
  "X-Function-Name": "figlet",
  "X-Function-Status": "200",
  "X-Duration-Seconds": "1.500000",
};

test("a callback has the headers of the function's answer that describe its body, and those that are its own", () => {
  const passed = [
    ["content-type", "text/plain"],
    ["content-encoding", "gzip"],
    ["content-language", "de"],
    ["x-figlet-font", "slant"],
    ["x-function-version", "2"],
  ] as const;
  expect(sentFor(passed)).toEqual({ ...Object.fromEntries(passed), ...OWN });
});

test.each([
  "host",
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "expect",
  "content-length",
  "content-location",
  "origin",
  "referer",
  "forwarded",
  "via",
  "cache-control",
  "webhook-id",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-real-ip",
  "x-original-url",
  "x-http-method-override",
  "x-api-key",
  "x-call-id",
  "x-function-name",
  "x-function-status",
  "x-duration-seconds",
])("a callback has no %s of the function", (name) => {
  expect(sentFor([[name, "1"]])).toEqual(OWN);
});

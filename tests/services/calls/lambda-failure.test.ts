import { expect, test } from "bun:test";
import type { HttpOrigin } from "../../../lib/domain/calls/http-message.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { BootError } from "../../../lib/runner/instance/boot-error.ts";
import { lambdaFailure } from "../../../lib/services/calls/lambda-failure.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";

const FN = { contract: "lambda", timeout_ms: 2_000 } as const;
const DIRECT: HttpOrigin = {
  path: "/",
  path_rest: null,
  route: null,
  query: {},
  query_string: "",
  client_address: null,
};
const URL_ROUTE: HttpOrigin = { ...DIRECT, route: "/a" };
const RAW_ROUTE: HttpOrigin = { ...URL_ROUTE, event: "raw" };
const REPORT = '{"errorType":"NoModule","errorMessage":"secret-module"}';

const reported = new BootError("boot_failed", "NoModule: secret-module", [], {
  exit_code: null,
  signal: null,
  report: Buffer.from(REPORT),
});
const CANNOT_START = {
  status: "failed",
  reason: "boot_failed",
  message: "NoModule: secret-module",
  exit_code: null,
} as const;

/** Returns status and body of the answer to a failed call. */
function answered(via: HttpOrigin | null, fields: Partial<Invocation>, thrown?: unknown) {
  const answer = lambdaFailure(someInvocation("i", fields), FN, { request: { via }, thrown });
  return answer && { status: answer.status, body: Buffer.from(answer.body as Uint8Array).toString() }; // it is whole
}

test.each<readonly [string, Partial<Invocation>, unknown, number]>([
  ["cannot start", CANNOT_START, reported, 502],
  ["exits", { status: "failed", reason: "invalid_response", message: "out", exit_code: 3 }, undefined, 502],
  [
    "runs out of memory",
    { status: "failed", reason: "out_of_memory", message: "out", exit_code: null },
    undefined,
    502,
  ],
  ["runs out of time", { status: "timed_out", reason: "function_timeout", message: "out" }, undefined, 504],
])("by a route, a function that %s tells nobody why", (_what, fields, thrown, status) => {
  for (const key_id of [null, "k"])
    expect(answered(URL_ROUTE, { ...fields, route_id: "r", key_id }, thrown)).toEqual({
      status,
      body: '{"message":"Internal Server Error"}',
    });
  // As AWS's Invoke tells it.
  expect(answered(DIRECT, { ...fields, key_id: "k" }, thrown)).toEqual({
    status,
    body: thrown === undefined ? expect.stringContaining('"errorType":') : REPORT,
  });
});

test("by a public route with raw events strangers do not get the function's report", () => {
  const byRoute = { ...CANNOT_START, route_id: "r" };
  expect(answered(RAW_ROUTE, { ...byRoute, key_id: "k" }, reported)?.body).toBe(REPORT);
  const { status, body } = answered(RAW_ROUTE, { ...byRoute, key_id: null }, reported) ?? expect.unreachable();
  expect(status).toBe(502);
  expect(body).toContain('"errorType":"Runtime.Unknown"');
  expect(body).not.toContain("secret-module");
});

test("the error of an extension that keeps the function from starting names the call", () => {
  const report = { errorType: "Extension.Crash", errorMessage: "Error: exit status 3" };
  const end = { exit_code: null, signal: null, report };
  const thrown = new BootError("boot_failed", "Extension.Crash", [], end);
  const { status, body } = answered(DIRECT, { ...CANNOT_START, key_id: "k" }, thrown) ?? expect.unreachable();
  expect([status, JSON.parse(body)]).toEqual([
    502,
    { errorType: "Extension.Crash", errorMessage: "RequestId: i Error: exit status 3" },
  ]);
});

test("what is not the function's fault is an error of the server", () => {
  const fields = { status: "failed", reason: "engine_unavailable", message: "away", route_id: "r" } as const;
  for (const via of [URL_ROUTE, RAW_ROUTE, DIRECT, null]) expect(answered(via, fields)).toBeNull();
});

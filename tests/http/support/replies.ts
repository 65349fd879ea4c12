import { expect } from "bun:test";
import type { Reply } from "../../support/server.ts";

/** Checks that an answer is the envelope of an error, with its keys in order and the request id of the header. */
export function expectError(
  { status, headers, body }: Pick<Reply, "status" | "headers" | "body">,
  expected: { readonly status: number; readonly reason: string; readonly message?: string },
): void {
  const { success, data, reason, request_id } = body;
  expect({ status, reason, message: body.message }).toEqual({ message: body.message, ...expected });
  expect(body.message).not.toBe("");
  expect({ success, data, request_id }).toEqual({
    success: false,
    data: null,
    request_id: headers.get("x-request-id") ?? "none",
  });
  expect(Object.keys(body)).toEqual(["success", "message", "data", "reason", "request_id"]);
  expect(headers.get("x-request-id")).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  expect(headers.get("content-type")).toStartWith("application/json");
}

/** Checks that an answer is the envelope of a success, with its keys in order, and returns its data. */
export function expectSuccess<T>({ status, headers, body }: Reply<T>, expectedStatus = 200): T {
  expect({ status, message: body.message }).toEqual({ status: expectedStatus, message: "success" });
  expect(Object.keys(body)).toEqual(["success", "message", "data"]);
  expect(body.success).toBe(true);
  expect(headers.get("x-request-id")).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  return body.data;
}

import { expect, test } from "bun:test";
import type { KeptRequest } from "../../../lib/domain/calls/views/kept-requests.ts";
import type { Scope } from "../../../lib/domain/keys.ts";
import { requestShownTo } from "../../../lib/http/access/callback-paths.ts";

// EDGE B3.

const SECRET = "https://hooks.example/with/a?token=1";

function shown(scopes: Scope[], url: string, headers: Record<string, string> = {}): KeptRequest {
  const request = { method: "POST", url, headers, body: "", encoding: "utf-8", body_bytes: 0, is_cut: false } as const;
  return requestShownTo({ key_id: "k", scopes, function_id: null }, request);
}

test("the callback URL that a request has is shown whole to keys that may set one only", () => {
  const url = `/v1/functions/f/invoke?a=%20b&callback_url=${encodeURIComponent(SECRET)}&async=true`;
  const headers = { "x-callback-url": SECRET, "content-type": "text/plain" };
  for (const scope of ["admin", "deploy"] as const)
    expect(shown([scope], url, headers)).toMatchObject({ url, headers });
  const reader = shown(["read", "invoke"], url, headers);
  expect(reader.url).toBe("/v1/functions/f/invoke?a=%20b&callback_url=https%3A%2F%2Fhooks.example%2F***&async=true");
  expect(reader.headers).toEqual({ "x-callback-url": "https://hooks.example/***", "content-type": "text/plain" });
});

test.each([
  ["/r/a", "/r/a"],
  ["/r/a?", "/r/a?"],
  ["/r/a?x=/callback_url=b&&y", "/r/a?x=/callback_url=b&&y"],
  ["/r/a?callback%5Furl=https://h.example/secret", "/r/a?callback_url=https%3A%2F%2Fh.example%2F***"],
  ["/r/a?callback_url=nonsense", "/r/a?callback_url=%2F***"],
])("%s is shown as %s", (url, expected) => {
  expect(shown(["read"], url).url).toBe(expected);
});

import { expect, test } from "bun:test";
import { OPENFAAS_CREDENTIALS } from "../../../lib/http/openfaas/key.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";

const KEY = "slipway_key";

function asked(headers: Record<string, string>): Request {
  return new Request("http://localhost:9999/system/functions", { headers: { Host: "localhost:9999", ...headers } });
}

function basic(credentials: string): { Authorization: string } {
  return { Authorization: `Basic ${Buffer.from(credentials).toString("base64")}` };
}

test.each<readonly [string, Record<string, string>, string | undefined]>([
  ["nothing", {}, undefined],
  ["the bearer token of a client that has not logged in", { Authorization: "Bearer " }, undefined],
  ["a bearer token", { Authorization: `Bearer ${KEY}` }, KEY],
  ["our own header", { "X-API-Key": KEY }, KEY],
  ["a password", basic(`admin:${KEY}`), KEY],
  ["a password with colons", basic("admin:a:b"), "a:b"],
  ["a password beyond ASCII", basic("admin:pässword"), "pässword"],
  ["a password without a user", basic(`:${KEY}`), KEY],
  ["a user without a password", basic("admin:"), ""],
  ["credentials without a colon", basic("admin"), ""],
  ["credentials that are no base64", { Authorization: "Basic !!!" }, ""],
  ["another scheme", { Authorization: `Digest ${KEY}` }, ""],
])("%s is read", (_, headers, key) => {
  expect(OPENFAAS_CREDENTIALS.keyIn(asked(headers))).toBe(key);
});

test.each<readonly [string, Record<string, string>]>([
  ["of another site", { "Sec-Fetch-Site": "cross-site" }],
  ["of a neighbouring name", { "Sec-Fetch-Site": "same-site" }],
  ["with another origin", { Origin: "https://attacker.example" }],
])("a password that a browser adds to the request of a page %s is refused", (_, headers) => {
  const refused = thrownBy(() => OPENFAAS_CREDENTIALS.keyIn(asked({ ...basic(`admin:${KEY}`), ...headers })));
  expect(refused instanceof AppError && refused.reason).toBe("forbidden");
});

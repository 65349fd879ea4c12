import { expect, test } from "bun:test";
import { administrator } from "../../../lib/domain/keys.ts";
import { createAccessCheck } from "../../../lib/http/access/access.ts";

test("a key that is unknown is looked for once more, and counts and is recorded only if it still is", async () => {
  const seen: string[] = [];
  const known = new Set<string>();
  const check = createAccessCheck({
    keys: {
      identify: (token) =>
        known.has(token) ? { caller: administrator("k") } : { refused: "wrong", message: "The API key is wrong" },
    },
    sessions: { identify: () => undefined },
    clientUsesTls: () => false,
    guesses: { failed: () => void seen.push("guess") },
    catchUp: async () => {
      seen.push("caught up");
      known.add("new");
    },
    key_required: true,
    loopback: false,
    allowed_hosts: [],
    clientAddress: () => null,
    audit: { refused: () => void seen.push("refused") },
    gateways: () => [],
  });
  const send = (token: string) =>
    check(new Request("http://localhost/", { headers: { Authorization: `Bearer ${token}` } }), null, { scopes: [] });
  expect(await send("new")).toEqual(administrator("k"));
  expect(seen).toEqual(["caught up"]);
  expect(send("new")).toEqual(administrator("k"));
  expect(seen).toEqual(["caught up"]);
  expect(async () => send("wrong")).toThrow("The API key is wrong");
  expect(seen).toEqual(["caught up", "caught up", "guess", "refused"]);
});

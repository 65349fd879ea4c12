import { expect, test } from "bun:test";
import { inCommands } from "../../lib/cli/api/command-words.ts";
import { notFound } from "../../lib/domain/quoted.ts";

test.each([
  [notFound("function", "x").message, 'No function "x": "slipway ls" lists them'],
  [notFound("invocation", "x").message, 'No invocation "x": "slipway invocations" lists those that are kept'],
  [notFound("secret", "x").message, 'No secret "x": "slipway secrets" lists them'],
  // There is no such command.
  [notFound("build", "x").message, 'No build "x": GET /v1/builds lists those that are kept'],
  [
    'Function "a" has no version 7: the latest is 1, GET /v1/functions/a/versions lists those that are kept',
    'Function "a" has no version 7: the latest is 1, "slipway versions a" lists those that are kept',
  ],
  [
    'credentials: PUT /v1/registries/r.example:5000 with "username" and "password".',
    'credentials: "slipway registries set r.example:5000".',
  ],
  [
    "Check the name; PUT /v1/registries/ghcr.io changes them.",
    'Check the name; "slipway registries set ghcr.io" changes them.',
  ],
  ["not there: tok. PUT /v1/secrets/<name> first", 'not there: tok. "slipway secrets set <name>" first'],
  ["send one that POST /v1/keys makes", 'send one that "slipway keys create" makes'],
  ["delete routes first, or use ?cascade=true", "delete routes first, or use --cascade"],
])("what %j advises is a command", (message, told) => {
  expect(inCommands(message)).toBe(told);
});

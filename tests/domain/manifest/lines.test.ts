import { expect, test } from "bun:test";
import { linesOf } from "../../../lib/domain/manifest/lines.ts";
import type { ManifestChange } from "../../../lib/domain/manifest/manifest.ts";

const unchanged: ManifestChange = { kind: "function", name: "same", action: "unchanged", fields: {} };

test("linesOf has a line for each change, and the counts", () => {
  const changes: ManifestChange[] = [
    { kind: "function", name: "new", action: "created", fields: {} },
    unchanged,
    {
      kind: "function",
      name: "hello",
      action: "updated",
      fields: {
        image: { from: "a:1", to: "a:2" },
        timeout_ms: { from: 30_000, to: 5_000 },
        user: { from: null, to: "two words" },
        command: { from: ["x"], to: ["y".repeat(100)] },
        "environment/A": { from: null, to: "***" },
        "environment/B": { from: "***", to: null },
        "environment/C": { from: "***", to: "***" },
      },
    },
    { kind: "route", name: "/x\u001b[2J\u009b", action: "deleted", fields: {} },
  ];
  expect(linesOf({ changes, dry_run: false })).toEqual([
    "+ function new",
    `~ function hello: image a:1 -> a:2, timeout_ms 30000 -> 5000, user null -> "two words", command ["x"] -> ["${"y".repeat(78)}..., ` +
      "environment/A added, environment/B removed, environment/C changed",
    "- route /x?[2J?",
    "1 created, 1 updated, 1 deleted, 1 unchanged",
  ]);
});

test.each<[ManifestChange[], boolean, string]>([
  [[], false, "nothing to do"],
  [[], true, "nothing to do (a dry run: nothing was done)"],
  [[unchanged, unchanged], false, "2 unchanged"],
  [[unchanged], true, "1 unchanged (a dry run: nothing was done)"],
])("linesOf %j, dry run %j: %s", (changes, dry_run, line) => {
  expect(linesOf({ changes, dry_run })).toEqual([line]);
});

test("linesOf tells of what is wrong with a function, safe for a terminal", () => {
  const warnings = ["It does not run: exit code 1\u001b[2J", "second"];
  const changes: ManifestChange[] = [
    { kind: "function", name: "web", action: "created", fields: {}, warnings },
    { kind: "route", name: "/web", action: "created", fields: {} },
  ];
  expect(linesOf({ changes, dry_run: false })).toEqual([
    "+ function web",
    "+ route /web",
    "! function web: It does not run: exit code 1?[2J",
    "! function web: second",
    "2 created",
  ]);
});

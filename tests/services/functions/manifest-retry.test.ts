import { expect, test } from "bun:test";
import { SETTING_DEFAULTS } from "../../../lib/domain/functions/settings.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN = { dry_run: false, prune: false, pull: false };

function actionsOf(changes: readonly { readonly action: string; readonly name: string }[]): string[] {
  return changes.map(({ action, name }) => `${action} ${name}`);
}

// EDGE.md E8.
test("a manifest fills in what a retry leaves out", async () => {
  using set = manifestServices();
  const functions = { hello: { image: "hello:1", retry: { max_attempts: 7 } } };
  await set.manifests.apply({ version: 1, functions }, PLAIN);
  expect(set.functions.get("hello").retry).toEqual({ ...SETTING_DEFAULTS.retry, max_attempts: 7 });
  const again = await set.manifests.apply({ version: 1, functions }, PLAIN);
  expect(actionsOf(again.changes)).toEqual(["unchanged hello"]);
  const exported = await set.manifests.export();
  expect(actionsOf((await set.manifests.apply(exported, PLAIN)).changes)).toEqual(["unchanged hello"]);
});

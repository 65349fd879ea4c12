import { describe, expect, test } from "bun:test";
import type { Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const OPTIONS = { dry_run: false, prune: false, pull: false };

/** Two functions, of which the first hands its results to the second, which comes later. */
const chained: Manifest = {
  version: 1,
  functions: { first: { image: "a:1", on_success: "second" }, second: { image: "b:1" } },
};

describe("ManifestService with chains", () => {
  test("apply: functions name each other by their names, in any order, and a second time changes nothing", async () => {
    using services = manifestServices();
    const { manifests, functions } = services;
    await manifests.apply(chained, OPTIONS);
    expect(functions.get("first").on_success).toBe(functions.get("second").id);
    const again = await manifests.apply(chained, OPTIONS);
    expect(again.changes.map(({ action }) => action)).toEqual(["unchanged", "unchanged"]);
    const exported = await manifests.export();
    expect(exported.functions?.["first"]).toMatchObject({ on_success: "second" });
    expect((await manifests.apply(exported, OPTIONS)).changes.map(({ action }) => action)).toEqual([
      "unchanged",
      "unchanged",
    ]);
  });

  test.each([
    [{ a: { image: "a:1", on_success: "b" }, b: { image: "a:1", on_failure: "a" } }, "it makes a cycle"],
    [
      { a: { image: "a:1", on_success: "nobody" } },
      'has the "on_success" "nobody", which is not a function in the manifest',
    ],
    [{ a: { image: "a:1", callback_url: "http://127.0.0.1/x" } }, "is not a public address"],
  ])("apply refuses %j, and changes nothing", async (functions, message) => {
    using services = manifestServices();
    const before = services.dump();
    const error = await rejectionOf(services.manifests.apply({ version: 1, functions }, OPTIONS));
    expect(error).toMatchObject({ reason: "invalid_request", message: expect.stringContaining(message) });
    expect(services.dump()).toEqual(before);
  });
});

import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import type { ApplyOptions, Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN: ApplyOptions = { dry_run: false, prune: false, pull: false };

function summary(changes: readonly { action: string; name: string }[]): string[] {
  return changes.map(({ action, name }) => `${action} ${name}`);
}

describe("image labels", () => {
  const labels = { "slipway.timeout_ms": "1000", "slipway.memory_bytes": "1073741824" };
  const manifest: Manifest = { version: 1, functions: { f: { image: "labelled", context_bytes: 536_870_912 } } };

  test("are defaults of omitted settings, and are checked together with those of the manifest", async () => {
    using set = manifestServices();
    set.engine.labels.set("labelled", labels);
    await set.manifests.apply(manifest, PLAIN);
    expect(set.functions.get("f")).toMatchObject({ timeout_ms: 1_000, memory_bytes: 1_073_741_824 });
    expect(await set.manifests.export()).toMatchObject({
      functions: { f: { image: "labelled", context_bytes: 536_870_912 } },
    });
    expect(summary((await set.manifests.apply(manifest, PLAIN)).changes)).toEqual(["unchanged f"]);
    await set.functions.update("f", { timeout_ms: 30_000 });
    expect((await set.manifests.export()).functions?.["f"]?.timeout_ms).toBe(30_000);
    expect((await set.manifests.apply(manifest, PLAIN)).changes[0]?.fields).toEqual({
      timeout_ms: { from: 30_000, to: 1_000 },
    });
  });

  test.each<[what: string, lose: (engine: ReturnType<typeof manifestServices>["engine"]) => void]>([
    ["the image is gone", (engine) => void engine.lost.add("id of labelled")],
    ["the labels are wrong", (engine) => void engine.labels.set("labelled", { "slipway.nonsense": "1" })],
  ])("are not known if %s: the settings that they could set stay, and are exported", async (_what, lose) => {
    using set = manifestServices();
    set.engine.labels.set("labelled", labels);
    await set.manifests.apply(manifest, PLAIN);
    lose(set.engine);
    expect(summary((await set.manifests.apply(manifest, PLAIN)).changes)).toEqual(["unchanged f"]);
    const exported = await set.manifests.export();
    expect(exported.functions?.["f"]).toMatchObject({ timeout_ms: 1_000, memory_bytes: 1_073_741_824, pids: 128 });
    expect(summary((await set.manifests.apply(exported, { ...PLAIN, prune: true })).changes)).toEqual(["unchanged f"]);
  });

  test("are exported, and apply is refused, if the engine is away", async () => {
    using set = manifestServices();
    set.engine.labels.set("labelled", labels);
    await set.manifests.apply(manifest, PLAIN);
    set.engine.images.signals = () => Promise.reject(new AppError("engine_unavailable", "Gone"));
    expect((await set.manifests.export()).functions?.["f"]).toMatchObject({ timeout_ms: 1_000, pids: 128 });
    expect(await rejectionOf(set.manifests.apply(manifest, PLAIN))).toMatchObject({ message: 'Function "f": Gone' });
  });
});

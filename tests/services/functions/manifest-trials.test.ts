import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import type { ApplyOptions, Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { manifestWarnings } from "../../../lib/services/functions/manifest-trials.ts";
import { functionOf } from "../../runner/pool/fake-instances.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN: ApplyOptions = { dry_run: false, prune: false, pull: false };

describe("ManifestService.apply tries functions of the contract http out", () => {
  const manifest: Manifest = {
    version: 1,
    functions: {
      web: { image: "web:1", contract: "http" },
      good: { image: "good:1", contract: "http" },
      file: { image: "file:1" },
    },
    routes: { "/web": { function: "web" } },
  };

  test("and tells which of them do not run, once they are written", async () => {
    using set = manifestServices();
    set.engine.onTryOut = ({ name }) =>
      name === "web" ? Promise.reject(new AppError("boot_failed", "it ended with exit code 1")) : Promise.resolve();
    const { changes } = await set.manifests.apply(manifest, PLAIN);
    expect(changes).toEqual([
      {
        kind: "function",
        name: "web",
        action: "created",
        fields: {},
        warnings: ["The function was saved, but it does not run: it ended with exit code 1"],
      },
      { kind: "function", name: "good", action: "created", fields: {} },
      { kind: "function", name: "file", action: "created", fields: {} },
      { kind: "route", name: "/web", action: "created", fields: {} },
    ]);
    expect(set.engine.told.filter((one) => one.startsWith("try out"))).toEqual(["try out web", "try out good"]);
    expect(set.functions.get("web").version).toBe(1);
  });

  test("but not if they are not to be", async () => {
    using set = manifestServices();
    set.engine.onTryOut = () => Promise.reject(new AppError("boot_failed", "it ended with exit code 1"));
    const { changes } = await set.manifests.apply(manifest, { ...PLAIN, probe: false });
    expect(changes[0]).toEqual({ kind: "function", name: "web", action: "created", fields: {} });
    expect(set.engine.told.filter((one) => one.startsWith("try out"))).toEqual([]);
  });

  test("but not in a dry run, and not those that stay as they are", async () => {
    using set = manifestServices();
    await set.manifests.apply(manifest, { ...PLAIN, dry_run: true });
    expect(set.engine.told).toEqual([]);
    await set.manifests.apply(manifest, PLAIN);
    set.engine.told.length = 0;
    expect((await set.manifests.apply(manifest, PLAIN)).changes[0]).toMatchObject({ action: "unchanged" });
    expect(set.engine.told).toEqual([]);
  });
});

test("ManifestService.apply tells why an image that exposes a port was not taken for a server", async () => {
  using set = manifestServices();
  set.engine.signs.set("web:1", { exposed_ports: [80] });
  const { changes } = await set.manifests.apply({ version: 1, functions: { web: { image: "web:1" } } }, PLAIN);
  expect(changes).toEqual([expect.objectContaining({ name: "web", warnings: [expect.stringContaining("it ended")] })]);
});

test("manifestWarnings begins no trial after a minute, and says so", async () => {
  const clock = new FakeClock();
  const web = functionOf("f", { contract: "http" });
  const written = Array.from({ length: 6 }, (_, index) => ({ name: `web-${index}`, after: web }));
  const found = await manifestWarnings([], written, {
    current: () => web,
    clock,
    probe: true,
    functions: {
      tryOut: async (_, fn) => {
        await clock.advance(60_001);
        return fn;
      },
    },
  });
  // The first four begin at once.
  expect([...found.keys()]).toEqual(["web-4", "web-5"]);
  expect(found.get("web-4")).toEqual([
    "The function was not tried: others of the manifest have taken over 60 s to start",
  ]);
});

test("manifestWarnings leaves out functions that were deleted meanwhile", async () => {
  const after = functionOf("f", { contract: "http" });
  const functions = { tryOut: () => Promise.reject(new Error("tried")) };
  const found = await manifestWarnings([], [{ name: "web", after }], {
    functions,
    current: () => undefined,
    clock: new FakeClock(),
    probe: true,
  });
  expect(found.size).toBe(0);
});

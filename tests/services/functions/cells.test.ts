import { beforeEach, describe, expect, test } from "bun:test";
import { cellsRefused } from "../../../lib/domain/functions/isolation.ts";
import type { Settings } from "../../../lib/domain/functions/settings.ts";
import type { ApplyOptions } from "../../../lib/domain/manifest/manifest.ts";
import { VersionService } from "../../../lib/services/functions/versions.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN: ApplyOptions = { dry_run: false, prune: false, pull: false };

const CAUSE = "its containers are confined by SELinux";
const REFUSED = {
  reason: "invalid_request",
  message:
    `"isolation" cannot be "cell": this engine cannot make one (${CAUSE}); give "container" for a fresh container for each ` +
    'call, or "process" for a fresh process in a reused one',
};

/** The questions that were asked about cells: the settings, and the image to try with. */
let asked: [Partial<Settings>, string | null | undefined][] = [];

beforeEach(() => {
  asked = [];
});

/** Services on an engine that makes cells for as long as `engine.able` says so. */
function servicesWithCells() {
  const set = manifestServices();
  const state = { able: true };
  set.engine.onCheck = (settings, imageId) => {
    if (settings.isolation !== "cell") return;
    asked.push([settings, imageId]);
    if (!state.able && imageId) throw cellsRefused(CAUSE, null);
  };
  return { ...set, state };
}

describe("a function with cells on an engine that cannot make them", () => {
  test("is refused at registration, before anything is written", async () => {
    using set = servicesWithCells();
    set.state.able = false;
    expect(await rejectionOf(set.functions.create({ image: "x", isolation: "cell" }))).toMatchObject(REFUSED);
    expect(await set.functions.list()).toEqual([]);
    expect(asked.at(-1)).toEqual([
      { isolation: "cell", runtime: null, sandbox: "default", read_only: false },
      "id of x",
    ]);
  });

  test("is refused with the label of an image on any engine: its gate has more rights than the image should choose", async () => {
    using set = servicesWithCells();
    set.engine.labels.set("x", { "slipway.isolation": "cell" });
    expect(await rejectionOf(set.functions.create({ image: "x" }))).toMatchObject({
      reason: "image_invalid",
      message:
        'Image "x" has the label "slipway.isolation" with the value "cell": an image cannot ask for a container with CAP_SYS_ADMIN, ' +
        'which cells need; set "isolation" on the function instead. Correct it in its Dockerfile',
    });
    set.engine.labels.set("y", { "slipway.isolation": "process", "slipway.scratch_bytes": "2097152" });
    expect(await set.functions.create({ image: "y" })).toMatchObject({ isolation: "process", scratch_bytes: null });
    const body = { image: "y", isolation: "cell" } as const;
    expect(await set.functions.create(body)).toMatchObject({ max_calls: 0, scratch_bytes: 2_097_152 });
    expect(asked).toHaveLength(2);
  });

  test("is refused by a change, with the image that it then has", async () => {
    using set = servicesWithCells();
    const { id } = await set.functions.create({ image: "x" });
    set.state.able = false;
    const before = await set.dump();
    expect(await rejectionOf(set.functions.update(id, { isolation: "cell" }))).toMatchObject(REFUSED);
    expect(asked.at(-1)?.[1]).toBe("id of x");
    const refused = set.functions.update(id, { isolation: "cell", image: "y", runtime: "runsc" });
    expect(await rejectionOf(refused)).toMatchObject(REFUSED);
    expect(asked.at(-1)).toEqual([
      { isolation: "cell", runtime: "runsc", sandbox: "default", read_only: false },
      "id of y",
    ]);
    expect(await set.dump()).toEqual(before);
  });

  test("is refused in a manifest, by name, and nothing of it is applied", async () => {
    using set = servicesWithCells();
    set.state.able = false;
    const functions = { plain: { image: "x" }, cells: { image: "y", isolation: "cell" as const } };
    expect(await rejectionOf(set.manifests.apply({ version: 1, functions }, PLAIN))).toMatchObject({
      ...REFUSED,
      message: `Function "cells": ${REFUSED.message}`,
    });
    expect(await set.functions.list()).toEqual([]);
  });

  test("is refused by a rollback", async () => {
    using set = servicesWithCells();
    const { id } = await set.functions.create({ image: "x", isolation: "cell" });
    await set.functions.update(id, { isolation: "container" });
    const images = { ...set.engine.images, restore: async () => "id of x again" };
    const runner = { check: set.engine.check.bind(set.engine), images };
    const retention = { holding: <T>(work: () => Promise<T>) => work(), soon: () => undefined };
    const store = set.store.versions;
    const versions = new VersionService({ store, functions: set.functions, secrets: set.secrets, retention, runner });
    set.state.able = false;
    expect(await rejectionOf(versions.rollback(id, 1))).toMatchObject(REFUSED);
    expect(asked.at(-1)?.[1]).toBe("id of x again");
    set.state.able = true;
    expect(await versions.rollback(id, 1)).toMatchObject({ version: 3, isolation: "cell", max_calls: 0 });
  });
});

describe("a function with cells whose engine has changed since", () => {
  test("can be changed in every other way, and back to an isolation that the engine has", async () => {
    using set = servicesWithCells();
    const { id } = await set.functions.create({ image: "x", name: "f", isolation: "cell", scratch_bytes: 2 ** 20 });
    set.state.able = false;
    asked.length = 0;
    expect(await set.functions.update(id, { timeout_ms: 700, image: "y" })).toMatchObject({ isolation: "cell" });
    const body = { image: "y", isolation: "cell", scratch_bytes: 2 ** 20, timeout_ms: 800 } as const;
    await set.manifests.apply({ version: 1, functions: { f: body } }, PLAIN);
    expect(asked).toEqual([]);
    for (const change of [{ runtime: "runsc" }, { sandbox: "strict" as const }, { read_only: true }]) {
      expect(await rejectionOf(set.functions.update(id, change))).toMatchObject(REFUSED);
    }
    expect(await set.functions.update(id, { isolation: "process" })).toMatchObject({
      max_calls: 0,
      scratch_bytes: null,
    });
  });
});

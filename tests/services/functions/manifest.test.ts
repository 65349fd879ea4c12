import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { SETTING_DEFAULTS } from "../../../lib/domain/functions/settings.ts";
import type { ApplyOptions, Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN: ApplyOptions = { dry_run: false, prune: false, pull: false };

const HELLO: Manifest = {
  version: 1,
  functions: {
    hello: { image: "hello:1", timeout_ms: 5_000, environment: { GREETING: "hi", OLD: "x" } },
    other: { image: "other:1", sandbox: "strict" },
  },
  routes: { "/hello": { function: "hello", methods: ["GET"] }, "/other/*": { function: "other" } },
};

function summary(changes: readonly { action: string; name: string }[]): string[] {
  return changes.map(({ action, name }) => `${action} ${name}`);
}

describe("ManifestService.apply", () => {
  test("creates missing functions and routes, and changes nothing the second time", async () => {
    using set = manifestServices();
    const first = await set.manifests.apply(HELLO, PLAIN);
    expect(first.dry_run).toBe(false);
    expect(summary(first.changes)).toEqual(["created hello", "created other", "created /hello", "created /other/*"]);
    expect(set.engine.pulled).toEqual(["hello:1", "other:1"]);
    expect(set.functions.get("hello")).toMatchObject({
      name: "hello",
      image: "hello:1",
      image_id: "id of hello:1",
      timeout_ms: 5_000,
      pids: 128,
      version: 1,
      environment: {
        GREETING: "hi",
        OLD: "x",
      },
    });
    expect(set.functions.get("other")).toMatchObject({ sandbox: "strict", network: "none", read_only: true });
    expect(set.routes.match("/other/x").route).toMatchObject({ function: { name: "other" }, methods: ["POST"] });
    expect(set.engine.told.map((told) => told.split(" ")[0])).toEqual(["update", "update"]);

    const before = await set.dump();
    const second = await set.manifests.apply(HELLO, PLAIN);
    expect(summary(second.changes)).toEqual([
      "unchanged hello",
      "unchanged other",
      "unchanged /hello",
      "unchanged /other/*",
    ]);
    expect(await set.dump()).toEqual(before);
    expect(set.engine.pulled).toHaveLength(2);
    expect(set.engine.told).toHaveLength(2);
  });

  test("changes what differs, and treats omitted settings as their defaults", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const { id } = set.functions.get("hello");
    await set.functions.update("other", { pids: 20 });
    const next: Manifest = {
      version: 1,
      functions: {
        hello: { image: "hello:2", cpus: 0.5, environment: { GREETING: "bye", NEW: "" } },
        other: { image: "other:1", sandbox: "strict" },
      },
      routes: { "/hello": { function: "other", max_request_bytes: 5 } },
    };
    set.engine.told.length = 0;
    const { changes } = await set.manifests.apply(next, PLAIN);
    expect(changes).toEqual([
      {
        kind: "function",
        name: "hello",
        action: "updated",
        fields: {
          image: {
            from: "hello:1",
            to: "hello:2",
          },
          timeout_ms: {
            from: 5_000,
            to: 30_000,
          },
          cpus: {
            from: 1,
            to: 0.5,
          },
          "environment/GREETING": {
            from: "***",
            to: "***",
          },
          "environment/OLD": {
            from: "***",
            to: null,
          },
          "environment/NEW": {
            from: null,
            to: "***",
          },
        },
      },
      { kind: "function", name: "other", action: "updated", fields: { pids: { from: 20, to: 128 } } },
      {
        kind: "route",
        name: "/hello",
        action: "updated",
        fields: {
          function: {
            from: "hello",
            to: "other",
          },
          methods: {
            from: ["GET"],
            to: ["POST"],
          },
          max_request_bytes: {
            from: null,
            to: 5,
          },
        },
      },
    ]);
    expect(set.functions.get("hello")).toMatchObject({ id, image_id: "id of hello:2", version: 2, timeout_ms: 30_000 });
    expect(set.functions.get("other")).toMatchObject({ version: 3 });
    expect(set.routes.match("/hello").route.function.name).toBe("other");
    expect(set.routes.match("/other/y").route.function.name).toBe("other");
    expect(set.engine.told).toEqual([`update ${id} to version 2`, expect.stringMatching(/ to version 3$/)]);
  });

  test("with prune deletes what is not mentioned, but keeps unnamed functions and their routes", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const other = set.functions.get("other");
    const nameless = await set.functions.create({ image: "by-hand:1" });
    await set.routes.create({ path: "/by-hand", function_id: nameless.id });
    const next: Manifest = {
      version: 1,
      functions: { hello: HELLO.functions?.["hello"] ?? { image: "" } },
      routes: {},
    };
    const kept = await set.manifests.apply(next, PLAIN);
    expect(summary(kept.changes)).toEqual(["unchanged hello"]);
    set.engine.told.length = 0;
    const { changes } = await set.manifests.apply(next, { ...PLAIN, prune: true });
    expect(summary(changes)).toEqual(["unchanged hello", "deleted /hello", "deleted /other/*", "deleted other"]);
    expect(set.store.functions.list().map(({ name }) => name)).toEqual(["hello", null]);
    expect(set.store.routes.list().map(({ path }) => path)).toEqual(["/by-hand"]);
    expect(() => set.routes.match("/hello")).toThrow("No route");
    expect(set.engine.told).toEqual([`remove ${other.id}`, "forget other"]);
  });

  test("moves a route away from a function that it deletes", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const next: Manifest = {
      version: 1,
      functions: { new: { image: "new:1" } },
      routes: { "/hello": { function: "new" } },
    };
    const { changes } = await set.manifests.apply(next, { ...PLAIN, prune: true });
    expect(summary(changes)).toEqual([
      "created new",
      "updated /hello",
      "deleted /other/*",
      "deleted hello",
      "deleted other",
    ]);
    expect(set.routes.match("/hello").route.function).toMatchObject({ name: "new", image: "new:1" });
  });

  test("accepts a route to a function that exists only on the server, unless it deletes that function", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const next: Manifest = { version: 1, routes: { "/more": { function: "hello" } } };
    expect(summary((await set.manifests.apply(next, PLAIN)).changes)).toEqual(["created /more"]);
    const before = await set.dump();
    expect(await rejectionOf(set.manifests.apply(next, { ...PLAIN, prune: true }))).toMatchObject({
      reason: "invalid_request",
      message:
        'The route "/more" leads to "hello", which is not a function in the manifest or one that stays on the server: ' +
        'add it to "functions", or correct the name',
    });
    expect(await set.dump()).toEqual(before);
  });

  test("dry_run says what would be done, and does nothing, not even a pull", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const before = await set.dump();
    set.engine.pulled.length = 0;
    set.engine.told.length = 0;
    const next: Manifest = {
      version: 1,
      functions: { hello: { image: "hello:2" }, new: { image: "new:1" } },
      routes: { "/hello": { function: "new", version: 1 }, "/new": { function: "new" } },
    };
    const options = { ...PLAIN, prune: true };
    const rehearsed = await set.manifests.apply(next, { ...options, dry_run: true });
    expect(rehearsed.dry_run).toBe(true);
    expect(await set.dump()).toEqual(before);
    expect([...set.engine.pulled, ...set.engine.told]).toEqual([]);
    expect(set.routes.match("/hello").route.function.name).toBe("hello");
    expect((await set.manifests.apply(next, options)).changes).toEqual(rehearsed.changes);
    expect(summary(rehearsed.changes)).toEqual([
      "updated hello",
      "created new",
      "updated /hello",
      "created /new",
      "deleted /other/*",
      "deleted other",
    ]);
  });

  test("changes nothing if its last part is impossible, in a dry run or not", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    const before = await set.dump();
    set.engine.told.length = 0;
    const next: Manifest = {
      version: 1,
      functions: { hello: { image: "hello:2" }, new: { image: "new:1" } },
      routes: { "/new": { function: "new" }, "/last": { function: "hello", version: 7 } },
    };
    for (const dry_run of [true, false]) {
      expect(await rejectionOf(set.manifests.apply(next, { ...PLAIN, dry_run, prune: true }))).toMatchObject({
        reason: "invalid_request",
        message: expect.stringContaining('Route "/last": Function "hello" has no version 7: the latest is '),
      });
      expect(await set.dump()).toEqual(before);
    }
    expect(set.engine.told).toEqual([]);
    expect(set.routes.match("/hello").route.function.image).toBe("hello:1");
    expect(() => set.routes.match("/new")).toThrow("No route");
  });

  test("changes nothing if the name of the last function was taken while images were looked up", async () => {
    using set = manifestServices();
    let created: Promise<unknown> | undefined;
    set.engine.onFind = async (reference) => {
      if (reference !== "last:1") return;
      // The name of a function, as the id of another one that an older database has.
      created ??= set.store.functions.insert({ ...set.functions.recordOf(null, target("odd:1")), id: "last" });
      await created;
    };
    const next: Manifest = { version: 1, functions: { first: { image: "a:1" }, last: { image: "last:1" } } };
    expect(await rejectionOf(set.manifests.apply(next, PLAIN))).toMatchObject({
      reason: "conflict",
      message: expect.stringContaining('Function "last": A function named "last" exists already'),
    });
    expect(set.store.functions.list().map(({ id }) => id)).toEqual(["last"]);
  });

  test("is refused if a function was deleted while images were looked up, and works when applied again", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    set.engine.onFind = async () => {
      set.engine.onFind = () => Promise.resolve();
      await set.functions.delete("hello", { cascade: true });
    };
    const next: Manifest = { ...HELLO, functions: { ...HELLO.functions, new: { image: "new:1" } } };
    expect(await rejectionOf(set.manifests.apply(next, PLAIN))).toMatchObject({
      reason: "conflict",
      message: 'The function "hello" was changed or deleted meanwhile: apply again',
    });
    expect(set.store.functions.list().map(({ name }) => name)).toEqual(["other"]);
    expect(summary((await set.manifests.apply(next, PLAIN)).changes)).toContain("created hello");
  });

  test("keeps concurrent changes to anything that it does not name", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    set.engine.onFind = async () => {
      await set.functions.update("other", { name: "moved" });
    };
    const { changes } = await set.manifests.apply(
      { version: 1, functions: { hello: { image: "hello:2" } } },
      { ...PLAIN, prune: true },
    );
    expect(summary(changes)).toEqual(["updated hello", "deleted /hello", "deleted /other/*", "deleted moved"]);
  });

  test("pull moves functions to the current images of their references", async () => {
    using set = manifestServices();
    await set.manifests.apply(HELLO, PLAIN);
    set.engine.pulled.length = 0;
    const { changes } = await set.manifests.apply(HELLO, { ...PLAIN, pull: true });
    expect(changes[0]).toMatchObject({
      action: "updated",
      fields: { image_id: { from: "id of hello:1", to: "new id of hello:1" } },
    });
    expect(set.engine.pulled).toEqual(["hello:1 anew", "other:1 anew"]);
    expect(set.functions.get("hello")).toMatchObject({ image_id: "new id of hello:1", version: 2 });
    expect(summary((await set.manifests.apply(HELLO, { ...PLAIN, pull: true })).changes)).toContain("unchanged hello");
  });

  test("looks up four images at once, and names the function whose image is not available", async () => {
    using set = manifestServices();
    let now = 0;
    let most = 0;
    const { promise: four, resolve } = Promise.withResolvers<void>();
    set.engine.onFind = async (reference) => {
      most = Math.max(most, ++now);
      if (now === 4) resolve();
      await four;
      now--;
      const error = new AppError("engine_unavailable", "The engine is away", { retry_after_s: 7 });
      if (Number(reference.split(":")[1]) >= 5) throw error;
    };
    const many = Array.from({ length: 12 }, (_, i) => [`f${i}`, { image: `a:${i}` }] as const);
    const failure = set.manifests.apply({ version: 1, functions: Object.fromEntries(many) }, PLAIN);
    expect(await rejectionOf(failure)).toMatchObject({
      reason: "engine_unavailable",
      message: 'Function "f5": The engine is away',
      retry_after_s: 7,
    });
    expect([most, set.engine.pulled.length, set.store.functions.list()]).toEqual([4, 12, []]);
  });

  test.each<[what: string, manifest: Omit<Manifest, "version">, message: string]>([
    ["a name", { functions: { A: { image: "x" } } }, 'Invalid name "A" in "functions": it must be a string of 1 to 63'],
    [
      "a name that looks like an id",
      { functions: { "00000000-0000-4000-8000-000000000000": { image: "x" } } },
      'Invalid "name" "00000000-0000-4000-8000-000000000000": it looks like an id',
    ],
    ["an image", { functions: { f: { image: "UP CASE" } } }, 'Function "f": Invalid image reference "UP CASE"'],
    [
      "settings",
      { functions: { f: { image: "x", warm_min: 5, warm_max: 2 } } },
      'Function "f": "warm_min" is 5 and "warm_max" only 2',
    ],
    ["the environment", { functions: { f: { image: "x", environment: { "": "" } } } }, 'Function "f": Invalid "env'],
    [
      "a function's secrets",
      { functions: { f: { image: "x", secrets: [{ name: "s", environment: null }] } } },
      'Function "f": Invalid "secrets": there is no secret "s": PUT /v1/secrets/s first',
    ],
    ["secrets", { secrets: ["a", "there", "b"] }, 'The manifest names secrets that are not there: "a", "b". PUT /v1'],
    ["a path", { routes: { x: { function: "f" } } }, 'Invalid "path" "x": it must begin with "/"'],
    [
      "route options",
      { functions: { f: { image: "x" } }, routes: { "/x": { function: "f", cors: { origins: ["x"] } } } },
      'Route "/x": Invalid "cors/origins/0" "x"',
    ],
    [
      "a route's versions",
      { functions: { f: { image: "x" } }, routes: { "/x": { function: "f", version: 2 } } },
      'Route "/x": Function "f" has no version 2',
    ],
  ])("refuses %s before anything is changed", async (_what, manifest, message) => {
    using set = manifestServices();
    await set.secrets.put("there", { value: "x" });
    const first = { ok: { image: "ok:1" } };
    const all: Manifest = { version: 1, ...manifest, functions: { ...first, ...manifest.functions } };
    const error = await rejectionOf(set.manifests.apply(all, PLAIN));
    expect(error).toMatchObject({ reason: "invalid_request", message: expect.stringContaining(message) });
    expect((await set.dump()).functions).toEqual([]);
  });

  test("ignores a secret that was deleted, if the function keeps it", async () => {
    using set = manifestServices();
    await set.secrets.put("s", { value: "x" });
    const f = { image: "x", secrets: [{ name: "s", environment: null }] };
    await set.manifests.apply({ version: 1, functions: { f } }, PLAIN);
    await set.secrets.delete("s", { force: true });
    const apply = async (fields: object) =>
      summary((await set.manifests.apply({ version: 1, functions: { f: { ...f, ...fields } } }, PLAIN)).changes);
    expect(await apply({})).toEqual(["unchanged f"]);
    expect(await apply({ pids: 9 })).toEqual(["updated f"]);
    expect(await rejectionOf(apply({ environment: { A: "b" } }))).toMatchObject({
      message: 'Function "f": Invalid "secrets": there is no secret "s": PUT /v1/secrets/s first',
    });
  });

  test("asks the engine only about changed settings", async () => {
    using set = manifestServices();
    await set.manifests.apply({ version: 1, functions: { f: { image: "x", network: "db" } } }, PLAIN);
    const asked: unknown[] = [];
    set.engine.onCheck = (settings) => void asked.push(settings);
    await set.manifests.apply({ version: 1, functions: { f: { image: "x", network: "db", cpus: 2 } } }, PLAIN);
    expect(asked).toEqual([{ cpus: 2 }, { cpus: 2 }]);
    const failure = set.manifests.apply(
      { version: 1, functions: { f: { image: "x", entrypoint: ["nothing"] } } },
      PLAIN,
    );
    expect(await rejectionOf(failure)).toMatchObject({ message: 'Function "f": There is nothing to run' });
  });
});

function target(image: string) {
  const origins = { contract_reason: "default" as const, port_reason: null, extra_ports: [] };
  return { image, environment: {}, settings: SETTING_DEFAULTS, origins, resolved: undefined };
}

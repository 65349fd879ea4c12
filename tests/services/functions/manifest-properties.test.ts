import { expect, test } from "bun:test";
import fc from "fast-check";
import { SETTING_DEFAULTS } from "../../../lib/domain/functions/settings.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { checkRouteOptions, METHODS, ROUTE_DEFAULTS, type RouteOptions } from "../../../lib/domain/routes/options.ts";
import type { Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { routePathProblem } from "../../../lib/domain/routes/routes.ts";
import { parseManifestBody } from "../../../lib/http/api/manifest-body.ts";
import { changeFunction, someFunction } from "../../store/sqlite/support/stores.ts";
import { anySettings } from "../../support/any-settings.ts";
import { type FakeEngine, manifestServices } from "../support/fake-engine.ts";

const PLAIN = { dry_run: false, prune: false, pull: false };
const TIMEOUT_MS = 240_000;

/** Images, and what their labels say. */
const IMAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  plain: {},
  "labelled:1": { "slipway.timeout_ms": "1000", "slipway.memory_bytes": "1073741824", "slipway.warm_max": "1000" },
  "strict:1": { "slipway.sandbox": "strict", "slipway.read_only": "true", "slipway.idle_ttl_ms": "5000" },
  "wrong:1": { "slipway.nonsense": "1" },
};

const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom("$", "{", "}", "A", " ", "\n", ":", "#", "-", "'", '"', "0"),
    fc.string({ minLength: 1 }),
  ),
});

const environment = fc.dictionary(fc.stringMatching(/^[A-Za-z_.][A-Za-z0-9_.]{0,8}$/), text.map(clean), {
  maxKeys: 4,
  noNullPrototype: true,
});

function clean(value: string): string {
  return value.replaceAll("\0", "").toWellFormed();
}

const someFunctions = fc
  .uniqueArray(
    fc.record({
      id: fc.oneof(fc.uuid(), fc.string({ minLength: 1 }).map(clean)),
      name: fc.option(fc.stringMatching(/^[a-z0-9-]{1,12}$/)),
      image: fc.constantFrom(...Object.keys(IMAGES)),
      environment,
      settings: anySettings,
    }),
    { selector: ({ id }) => id, maxLength: 5 },
  )
  .filter((all) => {
    const keys = all.flatMap(({ id, name }) => (name === null ? [id] : [id, name]));
    return new Set(keys).size === keys.length && all.every(({ id }) => id !== "");
  });

const header = fc.stringMatching(/^[a-z][a-z0-9$-]{0,8}$/);
const nullable = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null });

const someOptions: fc.Arbitrary<RouteOptions> = fc
  .record<Partial<RouteOptions>>(
    {
      methods: fc.uniqueArray(fc.constantFrom(...METHODS), { minLength: 1 }),
      auth: fc.constantFrom("public", "key"),
      cors: nullable(
        fc.record({
          origins: fc.constantFrom(["*"], ["https://example.com", "http://localhost:1"]),
          headers: fc.uniqueArray(header, { maxLength: 3 }),
          exposed_headers: fc.uniqueArray(header, { maxLength: 3 }),
          credentials: fc.boolean(),
          max_age_s: fc.integer({ min: 0, max: 86_400 }),
        }),
      ),
      rate_limit: nullable(
        fc.record({
          requests: fc.integer({ min: 1, max: 1_000_000 }),
          window_ms: fc.integer({ min: 1_000, max: 100_000 }),
          by: fc.constantFrom("address", "key"),
        }),
      ),
      max_request_bytes: nullable(fc.integer({ min: 0, max: 1_000_000 })),
      async: fc.boolean(),
      version: fc.constantFrom(null, 1),
      event: fc.constantFrom("http", "raw"),
      split: nullable(
        fc.record({
          version: fc.constant(2),
          percent: fc.integer({ min: 0, max: 100 }),
          sticky_header: nullable(header),
        }),
      ),
    },
    { requiredKeys: [] },
  )
  .map((some) => ({ ...ROUTE_DEFAULTS, ...some }))
  .filter((options) => {
    try {
      checkRouteOptions(options);
      return true;
    } catch {
      return false;
    }
  });

const path = fc
  .stringMatching(/^\/[a-z0-9$:'"-]{0,6}(\/[a-zé ]{1,3}){0,2}(\/\*)?$/)
  .filter((one) => routePathProblem(one) === undefined);
const someRoutes = fc.uniqueArray(fc.record({ path, to: fc.nat(), options: someOptions }), {
  selector: (route) => route.path,
  maxLength: 5,
});

function teach(engine: FakeEngine): void {
  for (const [image, labels] of Object.entries(IMAGES)) engine.labels.set(image, labels);
}

async function throughYaml(manifest: Manifest): Promise<Manifest> {
  const text = Bun.YAML.stringify(manifest, null, 2) ?? "";
  return (await parseManifestBody(Buffer.from(text), "application/yaml")).manifest;
}

test(
  "an export that is applied to the same server changes nothing",
  async () => {
    const property = fc.asyncProperty(someFunctions, someRoutes, fc.boolean(), async (functions, routes, forgetful) => {
      using set = manifestServices();
      teach(set.engine);
      const records = functions.map(({ settings, image, ...rest }): Function => {
        return someFunction(rest.id, { ...settings, ...rest, image, image_id: `id of ${image}` });
      });
      for (const record of records) {
        await set.store.functions.insert(record);
        await changeFunction(set.store, record.id, (now) => ({ ...now, version: 2 }));
        if (forgetful) set.engine.lost.add(`id of ${record.image}`);
      }
      for (const [index, { path, to, options }] of routes.entries()) {
        const fn = set.store.functions.list()[to % Math.max(1, records.length)];
        if (fn !== undefined) await set.store.routes.insert({ id: `r${index}`, path, function: fn, ...options });
      }
      const before = await set.dump();
      const manifest = await throughYaml(await set.manifests.export());
      const { changes } = await set.manifests.apply(manifest, { ...PLAIN, prune: true });
      expect(changes.filter(({ action }) => action !== "unchanged")).toEqual([]);
      expect(changes).toHaveLength(before.functions.length + before.routes.length);
      expect(await set.dump()).toEqual(before);
      expect(set.engine.pulled).toEqual([]);
    });
    await fc.assert(property, { numRuns: 60 });
  },
  TIMEOUT_MS,
);

const someManifest = fc
  .record({
    functions: fc.dictionary(
      fc.stringMatching(/^[a-z0-9-]{1,12}$/),
      fc.record(
        { image: fc.constantFrom("plain", "labelled:1"), environment, settings: anySettings },
        { requiredKeys: ["image", "settings"] },
      ),
      { minKeys: 1, maxKeys: 4, noNullPrototype: true },
    ),
    routes: someRoutes,
  })
  .map(({ functions, routes }): Manifest => {
    const names = Object.keys(functions);
    return {
      version: 1,
      functions: Object.fromEntries(
        Object.entries(functions).map(([name, { settings, ...rest }]) => [name, { ...rest, ...settings }]),
      ),
      routes: Object.fromEntries(
        routes.map(({ path, to, options }) => {
          // A new function has one version.
          return [path, { ...options, split: null, function: names[to % names.length] ?? "" }];
        }),
      ),
    };
  });

test(
  "a manifest is exported as it was applied, on this server and on the next",
  async () => {
    const property = fc.asyncProperty(someManifest, async (manifest) => {
      using first = manifestServices();
      using second = manifestServices();
      teach(first.engine);
      teach(second.engine);
      const made = await first.manifests.apply(manifest, PLAIN);
      expect(made.changes.every(({ action }) => action === "created")).toBe(true);
      for (const [name, { environment, ...wanted }] of Object.entries(manifest.functions ?? {})) {
        expect(first.functions.get(name)).toMatchObject(wanted);
        expect(first.functions.get(name).environment).toEqual(environment ?? {});
      }
      const again = await first.manifests.apply(manifest, { ...PLAIN, prune: true });
      expect(again.changes.every(({ action }) => action === "unchanged")).toBe(true);

      const exported = await first.manifests.export();
      await second.manifests.apply(await throughYaml(exported), PLAIN);
      expect(await second.manifests.export()).toEqual(exported);
      const unset = Object.values(exported.functions ?? {}).flatMap((fn) =>
        Object.entries(fn).filter(
          ([name, value]) => fn.image === "plain" && Bun.deepEquals(value, Reflect.get(SETTING_DEFAULTS, name)),
        ),
      );
      // A strict sandbox, an isolation and a server imply other settings, which may be the defaults otherwise.
      const implied = new Set(["network", "read_only", "max_calls", "warm_max"]);
      expect(unset.filter(([name]) => !implied.has(name))).toEqual([]);
    });
    await fc.assert(property, { numRuns: 40 });
  },
  TIMEOUT_MS,
);

test(
  "a dry run reports what apply then does, and changes nothing",
  async () => {
    const property = fc.asyncProperty(someManifest, someManifest, fc.boolean(), async (one, other, prune) => {
      using set = manifestServices();
      teach(set.engine);
      await set.manifests.apply(one, PLAIN);
      const before = await set.dump();
      const rehearsed = await set.manifests.apply(other, { ...PLAIN, prune, dry_run: true });
      expect(await set.dump()).toEqual(before);
      const { changes } = await set.manifests.apply(other, { ...PLAIN, prune });
      expect(changes).toEqual(rehearsed.changes);
      const done = await set.manifests.apply(other, { ...PLAIN, prune });
      expect(done.changes.every(({ action }) => action === "unchanged")).toBe(true);
    });
    await fc.assert(property, { numRuns: 40 });
  },
  TIMEOUT_MS,
);

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { jsonInSlices } from "../../../lib/http/sliced/json.ts";
import { manifestYaml } from "../../../lib/http/sliced/yaml.ts";

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test("JSON in slices is the JSON of the whole, for any plain data", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (data) => {
      for (const value of [data, { success: true, data }, { data: { records: data, left: undefined } }]) {
        expect(textOf(await jsonInSlices(value))).toBe(JSON.stringify(value) ?? "null");
      }
    }),
  );
});

const entry = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.array(fc.string())));
const entries = fc.dictionary(fc.string({ minLength: 1 }), entry, { maxKeys: 5 });

test("a manifest's YAML in slices is the YAML of the whole, and says the same", async () => {
  await fc.assert(
    fc.asyncProperty(entries, entries, fc.array(fc.string()), async (functions, routes, secrets) => {
      const manifest = { version: 1, functions, routes, secrets } as unknown as Manifest; // any entries will do
      const yaml = textOf(await manifestYaml(manifest));
      expect(yaml).toBe(`${Bun.YAML.stringify(manifest, null, 2)}\n`);
    }),
  );
});

test("others have their turn while the JSON of 20,000 records is made", async () => {
  const records = Array.from({ length: 20_000 }, (_, n) => ({ id: `record-${n}`, text: "x".repeat(500) }));
  let turns = 0;
  let going = true;
  const count = () => {
    turns++;
    if (going) setImmediate(count);
  };
  count();
  expect(textOf(await jsonInSlices({ data: records }))).toBe(JSON.stringify({ data: records }));
  going = false;
  expect(turns).toBeGreaterThan(2);
});

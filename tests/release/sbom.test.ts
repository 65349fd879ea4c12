import { Version } from "@cyclonedx/cyclonedx-library/Spec";
import { JsonStrictValidator } from "@cyclonedx/cyclonedx-library/Validation";
import { beforeAll, expect, test } from "bun:test";
import { dependencies, devDependencies, version } from "../../package.json" with { type: "json" };
import { runOrThrow } from "../../.ci/packages.ts";
import { inRepository } from "../../.ci/steps.ts";

interface Bill {
  readonly metadata: { readonly component: { readonly name: string; readonly version: string } };
  readonly components: readonly {
    readonly name: string;
    readonly group?: string;
    readonly purl: string;
    readonly licenses?: readonly unknown[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
}

let text: string;
let bill: Bill;

beforeAll(async () => {
  text = await runOrThrow(["env", "-i", process.execPath, inRepository(".ci/release/sbom.ts")]);
  bill = JSON.parse(text) as Bill; // its schema is checked below
});

test("the bill of materials is valid CycloneDX", async () => {
  const validator = new JsonStrictValidator(Version.v1dot6);
  expect(await validator.validate(text)).toBeNull();
  // It can fail.
  expect(await validator.validate(text.replace('"type": "library"', '"type": "bookshop"'))).not.toBeNull();
});

test("the bill has what is in the binary, and nothing that only tests need", () => {
  expect(bill.metadata.component).toMatchObject({ name: "slipway", version });
  const names = bill.components.map(({ group, name }) => (group === undefined ? name : `${group}/${name}`));
  expect(Object.keys(dependencies).filter((name) => !names.includes(name))).toEqual([]);
  expect(Object.keys(devDependencies).filter((name) => names.includes(name))).toEqual([]);
  expect(names).toEqual(expect.arrayContaining(["bun", "streamx", "memoirist"]));
  expect(names).not.toContain("ssh2");
  expect(bill.components.filter(({ licenses = [] }) => licenses.length === 0)).toEqual([]);
});

test("every component of the bill is there because of another one", () => {
  const next = new Map(bill.dependencies.map(({ ref, dependsOn = [] }) => [ref, dependsOn]));
  const reached = new Set<string>();
  const visit = (ref: string): void => {
    if (reached.has(ref)) return;
    reached.add(ref);
    for (const one of next.get(ref) ?? []) visit(one);
  };
  visit(`slipway@${version}`);
  expect(bill.components.map(({ purl }) => purl).filter((purl) => !reached.has(purl))).toEqual([]);
});

test("the bill is the same for the same sources, and names nothing of this machine", async () => {
  expect(await runOrThrow([process.execPath, inRepository(".ci/release/sbom.ts")])).toBe(text);
  expect(text).not.toContain(inRepository());
});

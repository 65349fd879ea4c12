// `bun .ci/release/sbom.ts`: prints the bill of materials of the server as CycloneDX JSON. It has what the bundler really takes,
// and Bun, which is in every binary, too. Like a build, it is a process of its own, after the packages are installed.
import { ComponentType, HashAlgorithm } from "@cyclonedx/cyclonedx-library/Enums";
import {
  Bom,
  Component,
  HashDictionary,
  LicenseRepository,
  NamedLicense,
  SpdxLicense,
} from "@cyclonedx/cyclonedx-library/Models";
import { JSON as Json, JsonSerializer } from "@cyclonedx/cyclonedx-library/Serialize";
import { Spec1dot6 } from "@cyclonedx/cyclonedx-library/Spec";
import { isSupportedSpdxId } from "@cyclonedx/cyclonedx-library/SPDX";
import { dirname, join } from "node:path";
import { dependencies, license, version } from "../../package.json" with { type: "json" };
import { bundledFiles } from "../compile-server.ts";
import { inRepository } from "../steps.ts";

/** The fields of a package.json that the bill has. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly description?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** Returns the bill of materials as JSON, the same for the same sources. */
export async function billOfMaterials(): Promise<string> {
  const slipway = new Component(ComponentType.Application, "slipway", {
    bomRef: `slipway@${version}`,
    version,
    licenses: licensesOf(license),
  });
  const bom = new Bom();
  bom.metadata.component = slipway;
  const packages = await bundledPackages();
  const sums = await checksums();
  const components = new Map([...packages].map(([path, manifest]) => [path, componentOf(manifest, sums)]));
  for (const [path, component] of components) {
    bom.components.add(component);
    if (Object.hasOwn(dependencies, packages.get(path)?.name ?? "")) slipway.dependencies.add(component.bomRef);
    for (const name of namesNeeded(packages.get(path))) {
      const found = components.get(resolved(path, name, components));
      if (found !== undefined) component.dependencies.add(found.bomRef);
    }
  }
  const bun = runtime();
  bom.components.add(bun);
  slipway.dependencies.add(bun.bomRef);
  const serializer = new JsonSerializer(new Json.Normalize.Factory(Spec1dot6));
  return serializer.serialize(bom, { sortLists: true, space: 2 });
}

function namesNeeded(manifest: Manifest | undefined): string[] {
  const { dependencies: always, optionalDependencies, peerDependencies } = manifest ?? {};
  return Object.keys({ ...always, ...optionalDependencies, ...peerDependencies });
}

/** Returns the packages that the bundler takes, by their directory. */
async function bundledPackages(): Promise<ReadonlyMap<string, Manifest>> {
  const files = await bundledFiles();
  const directories = new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []));
  const read = async (path: string) =>
    [path, (await Bun.file(inRepository(path, "package.json")).json()) as Manifest] as const; // npm's format
  return new Map(await Promise.all([...directories].toSorted().map(read)));
}

/** Returns the SHA-512 of each package of bun.lock, in hex, by `name@version`. */
async function checksums(): Promise<ReadonlyMap<string, string>> {
  const lock = Bun.JSONC.parse(await Bun.file(inRepository("bun.lock")).text()) as {
    packages: Readonly<Record<string, readonly unknown[]>>; // Bun's format
  };
  const found = new Map<string, string>();
  for (const [name, , , integrity] of Object.values(lock.packages)) {
    const [, sum] = /^sha512-(.+)$/.exec(String(integrity)) ?? [];
    if (sum !== undefined) found.set(String(name), Buffer.from(sum, "base64").toString("hex"));
  }
  return found;
}

function componentOf(manifest: Manifest, sums: ReadonlyMap<string, string>): Component {
  const { name, version: number, description } = manifest;
  const purl = `pkg:npm/${name.replace("@", "%40")}@${number}`;
  const sum = sums.get(`${name}@${number}`);
  if (sum === undefined) throw new Error(`bun.lock has no checksum of ${name}@${number}`);
  const [group, short] = name.startsWith("@") ? name.split("/") : [undefined, name];
  return new Component(ComponentType.Library, short ?? name, {
    bomRef: purl,
    purl,
    version: number,
    ...(group !== undefined && { group }),
    ...(description !== undefined && { description }),
    licenses: licensesOf(manifest.license),
    hashes: new HashDictionary([[HashAlgorithm["SHA-512"], sum]]),
  });
}

/** Bun itself: the runtime that is compiled into every binary. */
function runtime(): Component {
  const purl = `pkg:github/oven-sh/bun@bun-v${Bun.version}`;
  return new Component(ComponentType.Application, "bun", {
    bomRef: purl,
    purl,
    version: Bun.version,
    description: "The JavaScript runtime in the binary.",
    licenses: licensesOf("MIT"),
  });
}

function licensesOf(id: string | undefined): LicenseRepository {
  if (id === undefined) return new LicenseRepository();
  return new LicenseRepository([isSupportedSpdxId(id) ? new SpdxLicense(id) : new NamedLicense(id)]);
}

/** Returns the directory in which a package finds another one: the nearest `node_modules` above it that has it. */
function resolved(path: string, name: string, known: ReadonlyMap<string, unknown>): string {
  for (let at = path; ; at = dirname(at)) {
    const candidate = join(at, "node_modules", name);
    if (known.has(candidate) || at === ".") return candidate;
  }
}

if (import.meta.main) console.log(await billOfMaterials());

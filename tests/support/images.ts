import { cp } from "node:fs/promises";
import { join } from "node:path";
import { baseImage, baseReference, type BaseImage } from "../../.ci/engine/base-images.ts";
import { compile } from "../../.ci/engine/compile.ts";
import { acquireEngine, type Engine } from "../../.ci/engine/engine.ts";
import type { EngineClient } from "../../.ci/engine/engine-client.ts";
import { buildDirectory, hasImage, withDirectory } from "../../.ci/engine/image-tree.ts";

const DIRECTORY = join(import.meta.dir, "fixtures");

interface Fixture {
  /** The value of `${BASE}` in its Dockerfile; absent if that starts from `scratch`. */
  readonly base?: BaseImage;
  /** The linking of the `chaos` program in the build directory; absent if the image does not use it. */
  readonly chaos?: "static" | "dynamic";
  /** The same for the program `probe`. */
  readonly probe?: "static";
  /** Many tests use it: each engine has it before they begin. Any other is made when the first test asks for it. */
  readonly early?: true;
}

/**
 * The function images of the tests. Each has a directory in `fixtures/` with its Dockerfile. Most run the program `chaos`,
 * whose request chooses what it does (see `fixtures/README.md`), each in a different environment.
 */
const FIXTURES = {
  chaos: { base: "busybox", chaos: "static", early: true },
  static: { chaos: "static", early: true },
  distroless: { base: "distroless", chaos: "dynamic" },
  shell: { base: "busybox", early: true },
  programs: { base: "programs" },
  bun: { base: "bun", early: true },
  "lambda-extensions": { base: "bun" },
  nonroot: { chaos: "static" },
  "path-entrypoint": { base: "busybox", chaos: "static" },
  "missing-entrypoint": { base: "busybox" },
  "not-executable": { base: "busybox" },
  "bad-format": { base: "busybox" },
  "no-command": { chaos: "static" },
  healthcheck: { base: "busybox", chaos: "static" },
  "volume-at-context": { chaos: "static" },
  "own-gate": { base: "busybox", chaos: "static" },
  "exit-127": { base: "busybox" },
  probe: { base: "busybox", probe: "static" },
  express: { base: "npm" },
  fastify: { base: "npm" },
  "functions-framework": { base: "npm" },
  "ws-echo": { base: "npm" },
  page: { base: "npm" },
  ffmpeg: { base: "npm" },
  lambda: { base: "lambda" },
  flask: { base: "debian" },
  "java-server": { base: "debian" },
} satisfies Record<string, Fixture>;

export type FixtureName = keyof typeof FIXTURES;

/** Returns the names of the images that are wanted: those of these names or, without any, those that are made early. */
export function fixturesNamed(wanted: readonly string[]): readonly FixtureName[] {
  const fixtures: Readonly<Record<FixtureName, Fixture>> = FIXTURES;
  // Object.keys forgets the type of the keys.
  const names = Object.keys(fixtures) as readonly FixtureName[];
  return names.filter((name) => (wanted.length === 0 ? fixtures[name].early === true : wanted.includes(name)));
}

const built = new Map<string, Promise<string>>();

/**
 * Returns the reference of a function image, building it if the engine does not have it. The tag is a hash of everything
 * in the image, so that a changed source makes a new image and an old one is found again.
 */
export async function fixture(name: FixtureName): Promise<string> {
  const { client } = await acquireEngine();
  const key = `${client.host} ${name}`;
  const known = built.get(key) ?? buildFixture(client, name);
  built.set(key, known);
  return known;
}

async function buildFixture(client: EngineClient, name: FixtureName): Promise<string> {
  const { base, chaos, probe }: Fixture = FIXTURES[name];
  const [program, linked] = probe === undefined ? (["chaos", chaos] as const) : (["probe", probe] as const);
  const buildArgs: Record<string, string> = base === undefined ? {} : { BASE: await baseReference(base) };
  const sources = name === program ? [] : await sourcesIn(join(DIRECTORY, name));
  const programs = linked === undefined ? [] : await sourcesIn(join(DIRECTORY, program));
  const tag = await hashOfFiles([name, linked ?? "", JSON.stringify(buildArgs)], [...sources, ...programs]);
  const reference = `slipway-test/${name}:${tag}`;
  if (await hasImage(client, reference)) return reference;
  if (base !== undefined) await baseImage(client, base);
  await withDirectory(async (directory) => {
    await cp(join(DIRECTORY, name), directory, { recursive: true });
    if (linked !== undefined) await compile(join(DIRECTORY, program), join(directory, program), linked);
    await buildDirectory(client, directory, reference, buildArgs);
  });
  return reference;
}

async function sourcesIn(directory: string): Promise<string[]> {
  const names = await Array.fromAsync(new Bun.Glob("**/*").scan({ cwd: directory, dot: true }));
  return names.toSorted().map((name) => join(directory, name));
}

async function hashOfFiles(words: readonly string[], files: readonly string[]): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for (const word of words) hash.update(`${word}\0`);
  for (const file of files) hash.update(await Bun.file(file).bytes());
  return hash.digest("hex").slice(0, 16);
}

/** Returns whether an engine keeps its images in containerd, as new installations do since Docker 29. */
export async function hasContainerdStore(client: EngineClient): Promise<boolean> {
  const info = (await client.json("GET", "/info")) as { DriverStatus?: string[][] }; // the engine's own format
  return (info.DriverStatus ?? []).some(([, value]) => value === "io.containerd.snapshotter.v1");
}

/** Makes an image from another and these Dockerfile lines, and returns its id. The caller removes it. */
export async function imageWith(engine: Engine, image: string, ...changes: readonly string[]): Promise<string> {
  const container = (await engine.docker("create", image, "never-started")).trim();
  try {
    return (await engine.docker("commit", ...changes.flatMap((change) => ["--change", change]), container)).trim();
  } finally {
    await engine.docker("rm", container);
  }
}

/**
 * Returns what a container of `docker run --rm` prints, which is never nothing: a busy engine may lose the output of a
 * program that ends at once, and is asked again then.
 */
export async function printedBy(engine: Engine, ...run: readonly string[]): Promise<string> {
  for (;;) {
    const printed = (await engine.docker("run", "--rm", ...run)).trim();
    if (printed !== "") return printed;
  }
}

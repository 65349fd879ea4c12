import { describe, expect, test } from "bun:test";
import { basename, dirname, join, normalize } from "node:path";

const ROOT = dirname(import.meta.dir);

/** Every layer, and those that it may import beside itself. Calls, and so imports, go down. */
const BELOW = {
  domain: [],
  engine: ["domain"],
  store: ["domain"],
  runner: ["engine", "domain"],
  services: ["runner", "store", "engine", "domain"],
  http: ["services", "domain"],
} as const satisfies Record<string, readonly string[]>;

type Layer = keyof typeof BELOW;

/** What any file may import: they know nothing of ours themselves. */
const ANYWHERE: ReadonlySet<string> = new Set(["lib/log.ts", "lib/clock.ts", "lib/metrics.ts"]);

/** What stands above the layers, and may import whatever it starts. */
const TOP: ReadonlySet<string> = new Set(["index.ts", "lib/server.ts"]);

/** Packages that one layer alone knows, so that they can be replaced there. */
const OWNED: Readonly<Record<string, readonly string[]>> = {
  "bun:sqlite": ["store"],
  "docker-modem": ["engine"],
  "tar-stream": ["engine", "runner"],
  elysia: ["http"],
  "swagger-ui-dist": ["http"],
  "prom-client": ["metrics.ts"],
};

interface Import {
  readonly file: string;
  /** A path from the root for what is ours, the name of the package for what is not. */
  readonly target: string;
  /** Whether only types are imported, which are gone when the code runs. */
  readonly typeOnly: boolean;
}

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** All imports of a file. The transpiler drops those of types, so it is only asked for what the text does not say. */
async function importsOf(file: string): Promise<Import[]> {
  const text = await Bun.file(join(ROOT, file)).text();
  const running = new Set(transpiler.scanImports(text).map(({ path }) => path));
  const written = [
    ...text.matchAll(/^\s*(?:import|export)\b[^"';]*?\bfrom\s+"([^"]+)"|\bimport\(\s*"([^"]+)"|^import\s+"([^"]+)"/gm),
  ];
  const specifiers = new Set([...running, ...written.map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? "")]);
  return [...specifiers].map((specifier) => ({
    file,
    target: targetOf(file, specifier),
    typeOnly: !running.has(specifier),
  }));
}

function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith(".")) return normalize(join(dirname(file), specifier));
  const [scope = "", name = ""] = specifier.split("/");
  return scope.startsWith("@") ? `${scope}/${name}` : scope;
}

async function sources(pattern: string): Promise<string[]> {
  return (await Array.fromAsync(new Bun.Glob(pattern).scan({ cwd: ROOT }))).toSorted();
}

function layerOf(file: string): Layer | undefined {
  const name = /^lib\/(\w+)\//.exec(file)?.[1] ?? "";
  return isLayer(name) ? name : undefined;
}

function isLayer(name: string): name is Layer {
  return Object.hasOwn(BELOW, name);
}

const files = ["index.ts", ...(await sources("lib/**/*.ts"))].filter((file) => !file.endsWith(".d.ts"));
const imports = (await Promise.all(files.map(importsOf))).flat();
const inside = imports.filter(({ target }) => target.startsWith("lib/") || target.startsWith("tests/"));

const show = ({ file, target }: Import): string => `${file} -> ${target}`;

describe("imports", () => {
  test("are found at all", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(imports.map(show)).toContain("lib/http/app.ts -> lib/services/routes.ts");
    expect(imports.map(show)).toContain("lib/server.ts -> lib/http/app.ts");
    expect(imports.find((one) => one.file === "lib/server.ts" && one.target === "elysia")?.typeOnly).toBe(true);
  });

  test("go http -> services -> {runner, store} -> engine -> domain", () => {
    const wrong = inside.filter(({ file, target }) => {
      const from = layerOf(file);
      const to = layerOf(target);
      if (from === undefined || ANYWHERE.has(target) || from === to) return false;
      const allowed: readonly string[] = BELOW[from];
      return to === undefined || !allowed.includes(to);
    });
    expect(wrong.map(show)).toEqual([]);
  });

  test("of what all may import lead to nothing that has imports of ours", () => {
    const wrong = inside.filter(({ file, target }) => ANYWHERE.has(file) && !ANYWHERE.has(target));
    expect(wrong.filter(({ target }) => layerOf(target) !== "domain").map(show)).toEqual([]);
  });

  test("of several layers are for lib/server.ts alone", () => {
    const layers = new Map<string, Set<Layer>>();
    for (const { file, target } of inside) {
      const to = layerOf(target);
      if (layerOf(file) !== undefined || to === undefined || to === "domain") continue;
      layers.set(file, (layers.get(file) ?? new Set()).add(to));
    }
    const wiring = [...layers].filter(([, known]) => known.size > 1).map(([file]) => file);
    expect(wiring).toEqual(["lib/server.ts"]);
  });

  test("of lib/server.ts are for index.ts alone, and of index.ts for nobody", () => {
    const wrong = inside.filter(
      ({ file, target }) => TOP.has(target) && !(file === "index.ts" && target === "lib/server.ts"),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  test("of tests are in tests alone", () => {
    expect(inside.filter(({ target }) => target.startsWith("tests/")).map(show)).toEqual([]);
  });

  test.each(Object.entries(OWNED))("of %s are in %j alone", (name, owners) => {
    const wrong = imports.filter(({ file, target, typeOnly }) => {
      if (target !== name || (file === "lib/server.ts" && typeOnly)) return false;
      return !owners.includes(layerOf(file) ?? basename(file));
    });
    expect(wrong.map(show)).toEqual([]);
    expect(imports.some(({ target }) => target === name)).toBe(true);
  });

  test("have no cycle", () => {
    const graph = Map.groupBy(
      inside.filter(({ typeOnly }) => !typeOnly),
      ({ file }) => file,
    );
    const done = new Set<string>();
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) throw new Error(`a cycle: ${[...trail, file].join(" -> ")}`);
      if (done.has(file)) return;
      for (const { target } of graph.get(file) ?? []) visit(target, [...trail, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(done.size).toBeGreaterThanOrEqual(files.length);
  });
});

describe("files", () => {
  test("have names of one idea in kebab-case", async () => {
    const all = [...files, ...(await sources("tests/**/*.ts")), ...(await sources("functions/**/*.ts"))];
    const vague = /^(utils?|helpers?|common|shared|misc|lib|types-and-.*|index)$/;
    const wrong = all.filter((file) => {
      if (file === "index.ts") return false;
      const name = basename(file).replace(/\.(test|bench|d)?\.?ts$/, "");
      return vague.test(name) || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name);
    });
    expect(wrong).toEqual([]);
  });

  test("are short", async () => {
    const long: string[] = [];
    for (const file of files) {
      const lines = (await Bun.file(join(ROOT, file)).text()).split("\n").length - 1;
      if (lines > 400) long.push(`${file}: ${lines} lines`);
    }
    expect(long).toEqual([]);
  });

  test("re-export nothing", async () => {
    const barrels: string[] = [];
    for (const file of files) {
      if (/^export\s+(\*|\{[^}]*\})\s+from\s/m.test(await Bun.file(join(ROOT, file)).text())) barrels.push(file);
    }
    expect(barrels).toEqual([]);
  });

  test("with SQL are in the store", async () => {
    const sql = /["'`]\s*(select\s.+\sfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|create\s+table|pragma)\s/i;
    const wrong: string[] = [];
    for (const file of files.filter((one) => layerOf(one) !== "store")) {
      if (sql.test(await Bun.file(join(ROOT, file)).text())) wrong.push(file);
    }
    expect(wrong).toEqual([]);
  });
});

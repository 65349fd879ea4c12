import { describe, expect, test } from "bun:test";
import { basename, dirname, join, normalize } from "node:path";

const ROOT = dirname(import.meta.dir);

/** Every folder of `lib/` and those that it may import besides itself. Calls go down, and so do imports. */
const BELOW = {
  domain: [],
  docs: [],
  gate: [],
  store: ["domain"],
  runner: ["domain"],
  docker: ["runner", "gate", "domain"],
  services: ["runner", "store", "domain"],
  ui: ["domain"],
  http: ["services", "docs", "ui", "domain"],
  config: ["domain"],
  cli: ["config", "domain"],
  server: ["http", "services", "runner", "store", "docker", "config", "domain"],
} as const satisfies Record<string, readonly string[]>;

type Layer = keyof typeof BELOW;

/** The files of `lib/` that belong to no folder. Any file may import them. */
const ROOT_FILES: ReadonlySet<string> = new Set([
  "lib/calm-log.ts",
  "lib/clock.ts",
  "lib/log.ts",
  "lib/metrics.ts",
  "lib/private-files.ts",
  "lib/version.ts",
]);

/**
 * The seams: of each folder only the files in the middle may be imported by the folder on the right. The second maker
 * of a platform, a contract or a store changes nothing above them.
 */
const SEAMS: readonly (readonly [folder: string, entry: RegExp, importer: Layer])[] = [
  ["lib/runner/", /^lib\/runner\/platform\.ts$/, "docker"],
  ["lib/store/sqlite/", /^$/, "services"],
  ["lib/store/postgres/", /^$/, "services"],
];

/** Packages that only one folder may import, so that they can be replaced there. */
const OWNED: Readonly<Record<string, readonly string[]>> = {
  "bun:sqlite": ["store"],
  "docker-modem": ["docker"],
  pbf: ["docker"],
  "tar-stream": ["docker", "cli"],
  "@balena/dockerignore": ["cli"],
  elysia: ["http"],
  marked: ["http"],
  "swagger-ui-dist": ["http"],
  "prom-client": ["metrics.ts"],
  preact: ["ui"],
  uplot: ["ui"],
  "wouter-preact": ["ui"],
  "@opentelemetry/api": ["services"],
  "@opentelemetry/core": ["services"],
  "@opentelemetry/exporter-trace-otlp-proto": ["services"],
  "@opentelemetry/resources": ["services"],
  "@opentelemetry/sdk-trace": ["services"],
};

/** The most files that a folder may have. */
const FOLDER_FILES = 15;

interface Import {
  readonly file: string;
  /** A path from the root for our own files, else the name of the package. */
  readonly target: string;
  /** True if only types are imported, which are gone when the code runs. */
  readonly typeOnly: boolean;
}

const transpilers = { ts: new Bun.Transpiler({ loader: "ts" }), tsx: new Bun.Transpiler({ loader: "tsx" }) } as const;

/** All imports of a file. The transpiler drops those of types, so it is only asked for what the text does not say. */
async function importsOf(file: string): Promise<Import[]> {
  const text = await Bun.file(join(ROOT, file)).text();
  const transpiler = transpilers[file.endsWith(".tsx") ? "tsx" : "ts"];
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
  return (await Array.fromAsync(new Bun.Glob(pattern).scan({ cwd: ROOT, dot: true }))).toSorted();
}

function layerOf(file: string): Layer | undefined {
  const name = /^lib\/(\w+)\//.exec(file)?.[1] ?? "";
  return isLayer(name) ? name : undefined;
}

function isLayer(name: string): name is Layer {
  return Object.hasOwn(BELOW, name);
}

const sourceFiles = ["index.ts", ...(await sources("lib/**/*.{ts,tsx}"))];
const files = sourceFiles.filter((file) => !file.endsWith(".d.ts"));
const imports = (await Promise.all(files.map(importsOf))).flat();
const inside = imports.filter(({ target }) => target.startsWith("lib/") || target.startsWith("tests/"));

const show = ({ file, target }: Import): string => `${file} -> ${target}`;

/**
 * The cycles among the children of each folder, files and folders alike. Two files that import each other are such a
 * cycle, and so are two folders; a file that imports a folder next to it, and is imported from there, is one too.
 */
function cyclesOf(links: readonly Pick<Import, "file" | "target">[]): string[] {
  const found: string[] = [];
  for (const [folder, arrows] of Map.groupBy(links.map(siblings), ({ parent }) => parent)) {
    const next = Map.groupBy(arrows, ({ from }) => from);
    const done = new Set<string>();
    const visit = (name: string, trail: readonly string[]): void => {
      const start = trail.indexOf(name);
      if (start >= 0) found.push(`${folder}: ${[...trail.slice(start), name].join(" -> ")}`);
      if (start >= 0 || done.has(name)) return;
      for (const { to } of next.get(name) ?? []) visit(to, [...trail, name]);
      done.add(name);
    };
    for (const name of next.keys()) visit(name, []);
  }
  return found;
}

/** An import as an arrow between two children of the innermost folder that holds both ends. */
function siblings({ file, target }: Pick<Import, "file" | "target">) {
  const [a, b] = [file.split("/"), target.split("/")];
  const depth = a.findIndex((part, index) => part !== b[index]);
  return { parent: a.slice(0, depth).join("/"), from: a[depth] ?? "", to: b[depth] ?? "" };
}

describe("imports", () => {
  test("are found at all", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(imports.map(show)).toContain("lib/http/app.ts -> lib/http/api/functions.ts");
    expect(imports.map(show)).toContain("lib/http/api/functions.ts -> lib/services/functions/functions.ts");
  });

  test("go http -> services -> {runner, store} -> {docker, sqlite} -> domain", () => {
    const wrong = inside.filter(({ file, target }) => {
      const from = layerOf(file);
      const to = layerOf(target);
      if (from === undefined || ROOT_FILES.has(target) || from === to) return false;
      const allowed: readonly string[] = BELOW[from];
      return to === undefined || !allowed.includes(to);
    });
    expect(wrong.map(show)).toEqual([]);
  });

  test.each(SEAMS)("of %s go only through its seam (%p) in lib/%s", (folder, entry, importer) => {
    const wrong = inside.filter(
      ({ file, target }) => layerOf(file) === importer && target.startsWith(folder) && !entry.test(target),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  test("of files in lib/ itself are only of each other and of lib/domain", () => {
    const wrong = inside.filter(({ file, target }) => ROOT_FILES.has(file) && !ROOT_FILES.has(target));
    expect(wrong.filter(({ target }) => layerOf(target) !== "domain").map(show)).toEqual([]);
  });

  test("of lib/docker and the makers of lib/store are only in lib/server, but for SQLite's tables in PostgreSQL's memory", () => {
    const wrong = inside.filter(({ file, target }) => {
      const folder = /^lib\/(docker|store\/sqlite|store\/postgres)\//.exec(target)?.[0];
      if (folder === "lib/store/sqlite/" && file.startsWith("lib/store/postgres/")) return false;
      return folder !== undefined && !file.startsWith(folder) && layerOf(file) !== "server";
    });
    expect(wrong.map(show)).toEqual([]);
  });

  test("of Bun's SQL are only in the client of PostgreSQL", async () => {
    const users: string[] = [];
    for (const file of files) {
      const text = await Bun.file(join(ROOT, file)).text();
      if (/^import\b[^;]*\bSQL\b[^;]*from "bun"|\bBun\.(SQL|sql)\b/m.test(text)) users.push(file);
    }
    const folder = "lib/store/postgres/client/";
    expect([...new Set(users.map((file) => file.replace(/[^/]+$/, "")))]).toEqual([folder]);
  });

  test("of OpenTelemetry are only in a file that is loaded for an endpoint", async () => {
    const users = imports.filter(({ target, typeOnly }) => target.startsWith("@opentelemetry/") && !typeOnly);
    const [only = "", ...others] = new Set(users.map(({ file }) => file));
    expect([only, others]).toEqual(["lib/services/tracing/otlp.ts", []]);
    const loaders = inside.filter(({ target, typeOnly }) => target === only && !typeOnly).map(({ file }) => file);
    expect(loaders).toEqual(["lib/services/tracing/start.ts"]);
    const text = await Bun.file(join(ROOT, "lib/services/tracing/start.ts")).text();
    const kinds = transpilers.ts.scanImports(text).filter(({ path }) => path === "./otlp.ts");
    expect(kinds.map(({ kind }) => kind)).toEqual(["dynamic-import"]);
  });

  test("of lib/server and lib/cli are only in index.ts, and of index.ts nowhere", () => {
    const wrong = inside.filter(({ file, target }) => {
      const folder = /^lib\/(server|cli)\//.exec(target)?.[0] ?? (target === "index.ts" ? "index.ts" : undefined);
      return folder !== undefined && !file.startsWith(folder) && file !== "index.ts";
    });
    expect(wrong.map(show)).toEqual([]);
  });

  test("of the code of the dashboard are only in it: it runs in browsers, and the server has it as a file", () => {
    const wrong = inside.filter(
      ({ file, target }) => target.startsWith("lib/ui/") && layerOf(file) !== "ui" && !/\.(js|css)$/.test(target),
    );
    expect(wrong.map(show)).toEqual([]);
    // Types of the API come from lib/domain; none of its code does, which would come along with its libraries.
    const macros = "lib/ui/macros/";
    const code = inside.filter(
      ({ file, target, typeOnly }) =>
        layerOf(file) === "ui" && !file.startsWith(macros) && layerOf(target) !== "ui" && !typeOnly,
    );
    expect(code.map(show)).toEqual([]);
  });

  test("of tests are only in tests", async () => {
    const scripts = (await Promise.all((await sources(".ci/**/*.ts")).map(importsOf))).flat();
    const wrong = [...inside, ...scripts].filter(({ target }) => target.startsWith("tests/"));
    expect(wrong.map(show)).toEqual([]);
  });

  test.each(Object.entries(OWNED))("of %s are only in %j", (name, owners) => {
    const wrong = imports.filter(({ file, target, typeOnly }) => {
      if (target !== name || (layerOf(file) === "server" && typeOnly)) return false;
      return !owners.includes(layerOf(file) ?? basename(file));
    });
    expect(wrong.map(show)).toEqual([]);
    expect(imports.some(({ target }) => target === name)).toBe(true);
  });

  test("have no cycles, neither of files nor of folders", () => {
    expect(cyclesOf(inside)).toEqual([]);
  });

  test("that form a cycle would be noticed", () => {
    const link = (file: string, target: string) => ({ file, target });
    expect(cyclesOf([link("lib/a/x.ts", "lib/b/y.ts"), link("lib/b/z.ts", "lib/a/w.ts")])).toEqual([
      "lib: a -> b -> a",
    ]);
    expect(cyclesOf([link("lib/a.ts", "lib/b/c.ts"), link("lib/b/d.ts", "lib/a.ts")])).toEqual([
      "lib: a.ts -> b -> a.ts",
    ]);
    expect(cyclesOf([link("lib/a.ts", "lib/b.ts"), link("lib/b.ts", "lib/c.ts")])).toEqual([]);
  });
});

describe("files", () => {
  test("have names of one idea in kebab-case", async () => {
    const all = [...files, ...(await sources("tests/**/*.ts")), ...(await sources("functions/**/*.ts"))];
    const vague = /^(utils?|helpers?|common|shared|misc|lib|types-and-.*|index)$/;
    const wrong = all.filter((file) => {
      if (file === "index.ts") return false;
      const name = basename(file).replace(/\.(test|bench|d)?\.?tsx?$/, "");
      return vague.test(name) || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name);
    });
    expect(wrong).toEqual([]);
  });

  test("in lib itself are those that belong to no folder", async () => {
    const inRoot = (await sources("lib/*.ts")).filter((file) => !file.endsWith(".d.ts"));
    expect(inRoot.filter((file) => !ROOT_FILES.has(file))).toEqual([]);
  });

  test(`are at most ${FOLDER_FILES} in a folder`, async () => {
    const all = [...(await sources("lib/**/*.{ts,tsx,css,c,h,sql,md}")), ...(await sources("{tests,.ci}/**/*.ts"))];
    const folders = Map.groupBy(all, dirname);
    const full = [...folders].filter(([, inFolder]) => inFolder.length > FOLDER_FILES);
    expect(full.map(([folder, inFolder]) => `${folder}: ${inFolder.length}`)).toEqual([]);
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

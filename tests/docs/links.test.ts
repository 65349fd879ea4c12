import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { renderPage } from "../../lib/http/docs/markdown.ts";
import { renderManual } from "../../lib/http/docs/manual.ts";
import { TARGETS } from "../../.ci/architectures.ts";
import { runOrThrow } from "../../.ci/packages.ts";
import { blocksOf, pagePaths, readPage, ROOT } from "./support/markdown-blocks.ts";

const pages = await pagePaths();
const texts = new Map(await Promise.all(pages.map(async (page) => [page, await readPage(page)] as const)));

/** Text outside of fenced blocks. */
function proseOf(page: string): string {
  return (texts.get(page) ?? "").replace(/^```\w*\n.*?^```$/gms, "");
}

function anchorsOf(path: string): readonly string[] {
  return renderPage(path, texts.get(path) ?? "").headings.map(({ anchor }) => anchor);
}

describe("links", () => {
  test.each(pages)("of %s lead to existing files and headings", (page) => {
    const links = [...proseOf(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)];
    const wrong = links.filter(([, path = "", anchor]) => {
      const target = path === "" ? page : normalize(join(dirname(page), path));
      return !existsSync(join(ROOT, target)) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
    });
    expect(wrong.map(([link]) => link)).toEqual([]);
  });

  test("are found at all", () => {
    const all = pages.flatMap((page) => [...proseOf(page).matchAll(/\]\((?!https?:)/g)]);
    expect(all.length).toBeGreaterThan(50);
  });
});

describe("files", () => {
  test.each(pages)("that %s names exist", (page) => {
    const named = [...proseOf(page).matchAll(/`((?:lib|tests|functions|\.ci)\/[\w./-]+|index\.ts)`/g)];
    expect(named.map(([, path = ""]) => path).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test.each(["README.md", "lib/docs/architecture.md"])("of the tree in %s exist", (page) => {
    const tree = blocksOf(page, texts.get(page) ?? "").find(({ text }) => text.startsWith("index.ts"));
    const paths = treePaths(tree?.text ?? "");
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test("that README.md installs are those of a release", async () => {
    const script = await Bun.file(join(ROOT, ".ci/release.ts")).text();
    const suffix = /basename\(binary\)\}(\.\w+)/.exec(script)?.[1] ?? "";
    const made = TARGETS.map((target) => `slipway-linux-${target}${suffix}`);
    const named = new Set(texts.get("README.md")?.match(/slipway-linux-(?:x64|arm64)[\w.-]*/g));
    expect([...named].toSorted()).toEqual(made.toSorted());
    for (const name of ["SHA256SUMS", "slipway.service"]) {
      expect(texts.get("README.md")).toContain(name);
      expect(script).toContain(`"${name}"`);
    }
  });
});

test("README.md names every endpoint", async () => {
  const document: unknown = JSON.parse(
    await runOrThrow(["env", "-i", process.execPath, join(ROOT, "index.ts"), "openapi"]),
  );
  const paths = Object.keys((document as { paths: object }).paths).map((path) => path.replace(/\{(\w+)\}/g, ":$1"));
  expect(paths.length).toBeGreaterThan(20);
  const text = texts.get("README.md") ?? "";
  const missing = paths.filter((path) => {
    const short = path.replace("/v1/invocations/:id/", "…/");
    return ![path, short].some((one) => text.includes(`${one}\``)) && !path.startsWith("/r/");
  });
  expect(missing).toEqual([]);
});

test("every page of lib/docs is served", async () => {
  const served = (await renderManual()).flatMap(({ pages }) => pages.map(({ name }) => `${name}.md`));
  expect(["README.md", ...served].toSorted()).toEqual(pages.map((page) => basename(page)).toSorted());
});

/** The paths of a drawn tree: each line begins with names, and is in the folder of the line above that is less deep. */
function treePaths(tree: string): readonly string[] {
  const parents: { depth: number; path: string }[] = [];
  return tree.split("\n").flatMap((line) => {
    const depth = line.search(/\S/);
    while ((parents.at(-1)?.depth ?? -1) >= depth) parents.pop();
    const parent = parents.at(-1)?.path ?? "";
    const words = line.trim().split(/\s+/);
    const end = words.findIndex((word) => !/^\.?[\w-]+(\/|\.ts)$/.test(word));
    const names = words.slice(0, end < 0 ? words.length : end);
    if (names.length === 1) parents.push({ depth, path: `${parent}${names[0] ?? ""}` });
    return names.map((name) => `${parent}${name}`);
  });
}

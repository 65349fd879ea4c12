import { describe, expect, test } from "bun:test";
import { MEASURED_PAGES, withoutResults, withResults } from "../bench/manual/pages.ts";
import { readResults } from "../bench/manual/results.ts";
import { readSpent, SPENT_PAGE, withoutSpent, withSpent } from "../bench/manual/spent.ts";
import { pagePaths, readPage } from "./support/markdown-blocks.ts";
import { TABLES, withTable } from "./support/tables.ts";

/** A figure of speed: a time in small units, a rate, or a share. */
const SPEED = /\d[\d.,]*(?: to \d[\d.,]*)? ?(?:ms|µs|us|%|percent|\/s)(?!\w)|\b\d[\d.,]*(?: \w+)? (?:a|per) second\b/g;

/** Figures that nobody measured: limits of ours, and what commands are asked to do. */
const LIMITS: ReadonlySet<string> = new Set([
  "lib/docs/asynchronous-calls.md: 10 ms",
  "lib/docs/contracts.md: 100 ms",
  "lib/docs/contracts.md: 20 ms",
  "lib/docs/contracts.md: 300 ms",
  "lib/docs/contributing.md: 200 ms",
  "lib/docs/contributing.md: 5 %",
  "lib/docs/operations-and-security.md: 10 ms",
  "lib/docs/operations-and-security.md: 1,000 bytes a second",
  "lib/docs/operations-and-security.md: 2.5 %",
]);

function withoutCode(markdown: string): string {
  return markdown.replace(/^```[^]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
}

/** Returns the prose of a page: without blocks, tables made from the code, and what the benchmark wrote. */
async function proseOf(page: string): Promise<string> {
  const markdown = TABLES.filter(([of]) => of === page).reduce(
    (text, [, name]) => withTable(text, name, ""),
    await readPage(page),
  );
  return withoutSpent(withoutResults(withoutCode(markdown)));
}

describe("figures", () => {
  test("of what a call's time is spent on are those that bun run bench --spent wrote last", async () => {
    const markdown = await readPage(SPENT_PAGE);
    expect(markdown).toContain("<!-- spent -->");
    expect(markdown).toBe(withSpent(markdown, await readSpent()));
  });

  test.each(MEASURED_PAGES)(
    "of %s are those of the last complete benchmark (bun run bench writes both)",
    async (page) => {
      const markdown = await readPage(page);
      expect(markdown).toBe(withResults(markdown, await readResults()));
    },
  );

  test("of the benchmark are only in pages that it writes", async () => {
    const wrong: string[] = [];
    for (const page of await pagePaths()) {
      const markdown = withoutCode(await readPage(page));
      if (withoutResults(markdown) !== markdown && !MEASURED_PAGES.some((one) => one === page)) wrong.push(page);
    }
    expect(wrong).toEqual([]);
  });

  test("of speed stand between the comments of the benchmark, or are limits", async () => {
    const found: string[] = [];
    for (const page of await pagePaths())
      for (const [figure] of (await proseOf(page)).matchAll(SPEED)) found.push(`${page}: ${figure}`);
    expect(found.filter((figure) => !LIMITS.has(figure))).toEqual([]);
    expect([...LIMITS].filter((figure) => !found.includes(figure))).toEqual([]);
  });
});

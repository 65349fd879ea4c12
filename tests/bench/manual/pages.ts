import { join } from "node:path";
import { ROOT } from "../../../.ci/steps.ts";
import { formatTable } from "./table.ts";
import type { Results, Run } from "./results.ts";
import type { RowName } from "./rows.ts";

/** Figures in sentences of the pages: between `<!-- figure: NAME -->` and `<!-- /figure -->`. */
const FIGURES: Readonly<Record<string, { readonly row: RowName; readonly side: number }>> = {
  /** Milliseconds of `docker run --rm`. */
  "docker-run": { row: "cold", side: 1 },
  /** Milliseconds of a call to a container that waits. */
  "warm-call": { row: "warmDocker", side: 0 },
  /** Containers a second of the engine alone. */
  "engine-rate": { row: "freshRate", side: 1 },
  /** Calls a second in reused containers. */
  "reuse-rate": { row: "reuseRate", side: 0 },
};

/** The pages that have figures. */
export const MEASURED_PAGES = [
  "README.md",
  "lib/docs/architecture.md",
  "lib/docs/benchmarks.md",
  "lib/docs/pools-and-isolation.md",
] as const;

const TABLE = /<!-- bench -->[^]*?<!-- \/bench -->/g;
const FIGURE = /<!-- figure: (\S+) -->[^]*?<!-- \/figure -->/g;

/** Returns a page with the table and the figures of these results. */
export function withResults(markdown: string, results: Results): string {
  return markdown
    .replace(TABLE, () => `<!-- bench -->\n${tableOf(results)}\n<!-- /bench -->`)
    .replace(FIGURE, (_, name: string) => `<!-- figure: ${name} -->${figureOf(name, results)}<!-- /figure -->`);
}

/** Returns a page without what results wrote into it. */
export function withoutResults(markdown: string): string {
  return markdown.replace(TABLE, "").replace(FIGURE, "");
}

/** Writes results into all pages. */
export async function writePages(results: Results): Promise<void> {
  for (const page of MEASURED_PAGES) {
    const path = join(ROOT, page);
    await Bun.write(path, withResults(await Bun.file(path).text(), results));
  }
}

function tableOf({ parts = [], ...complete }: Results): string {
  return [complete, ...parts].map(partOf).join("");
}

function partOf({ commit, date, machine, measured }: Run): string {
  return `\nMeasured on ${date} at commit ${commit}: ${machine}.\n\n${formatTable(measured)}\n`;
}

function figureOf(name: string, { measured: complete, parts = [] }: Results): string {
  const measured = [...complete, ...parts.flatMap((part) => part.measured)];
  const source = FIGURES[name];
  if (source === undefined) throw new Error(`The benchmark has no figure "${name}"`);
  const median = measured.find(({ row }) => row === source.row)?.sides[source.side]?.median;
  if (median === undefined) throw new Error(`The results have no value for the figure "${name}"`);
  // Readers remember two digits.
  return Number(median.toPrecision(2)).toLocaleString("en");
}

import { join } from "node:path";
import { ROOT } from "../../../.ci/steps.ts";
import { show } from "../compare.ts";
import { type Part, PARTS } from "../spent/samples.ts";
import type { Results } from "./results.ts";

/** The processor time of calls by what it is spent on: the last run of `bun run bench --spent`. */
export interface Spent extends Omit<Results, "measured"> {
  readonly calls: readonly {
    readonly name: string;
    readonly count: number;
    /** For one call. */
    readonly milliseconds: Readonly<Record<Part, number>>;
  }[];
}

/** The page that has the table. */
export const SPENT_PAGE = "lib/docs/benchmarks.md";
const PATH = join(import.meta.dir, "spent.json");
const TABLE = /<!-- spent -->[^]*?<!-- \/spent -->/g;

export async function readSpent(): Promise<Spent> {
  return (await Bun.file(PATH).json()) as Spent; // what writeSpent wrote
}

/** Writes the results, and the table into its page. */
export async function writeSpent(spent: Spent): Promise<void> {
  await Bun.write(PATH, `${JSON.stringify(spent, null, 2)}\n`);
  const page = join(ROOT, SPENT_PAGE);
  await Bun.write(page, withSpent(await Bun.file(page).text(), spent));
}

/** Returns a page with the table of these results. */
export function withSpent(markdown: string, spent: Spent): string {
  return markdown.replace(TABLE, () => `<!-- spent -->\n${tableOf(spent)}\n<!-- /spent -->`);
}

/** Returns a page without the table. */
export function withoutSpent(markdown: string): string {
  return markdown.replace(TABLE, "");
}

function tableOf({ commit, date, machine, calls }: Spent): string {
  const rows = PARTS.map((part) => [part, ...calls.map(({ milliseconds }) => `${show(milliseconds[part])} ms`)]);
  const sums = calls.map(({ milliseconds }) => PARTS.reduce((sum, part) => sum + milliseconds[part], 0));
  const lines = [
    ["processor time of a call, one after another", ...calls.map(({ name }) => name)],
    ["---", ...calls.map(() => "---")],
    ...rows,
    ["all of it, but for the caller's", ...sums.map((sum) => `${show(sum)} ms`)],
    ["calls that were looked at", ...calls.map(({ count }) => String(count))],
  ].map((cells) => `| ${cells.join(" | ")} |`);
  return `\nMeasured on ${date} at commit ${commit}: ${machine}.\n\n${lines.join("\n")}\n`;
}

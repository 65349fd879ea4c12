import { commandsTable, optionsTable } from "../../../lib/cli/help.ts";
import { LABEL_SETTINGS } from "../../../lib/domain/images/labels.ts";
import { settingsTable } from "./settings-table.ts";

/** The parts of pages that are made from the code: the page, the name in the comments around the part, and the text. */
export const TABLES: readonly (readonly [page: string, name: string, text: string])[] = [
  ["lib/docs/configuration.md", "options", `\n${optionsTable().trim()}\n`],
  ["lib/docs/configuration.md", "commands", `\n${commandsTable().trim()}\n`],
  ["lib/docs/settings.md", "settings", `\n${settingsTable()}\n`],
  ["lib/docs/settings.md", "labels", LABEL_SETTINGS.map((name) => `\`${name}\``).join(", ")],
];

/** Returns a page with a text put in between its comments. */
export function withTable(markdown: string, name: string, text: string): string {
  const [before, rest = ""] = markdown.split(`<!-- ${name} -->`);
  const after = rest.split(`<!-- /${name} -->`)[1];
  if (before === undefined || after === undefined) throw new Error(`The page has no part "${name}"`);
  return `${before}<!-- ${name} -->${text}<!-- /${name} -->${after}`;
}

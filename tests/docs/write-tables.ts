// `bun tests/docs/write-tables.ts`: puts the tables that are made from the code into the pages of the manual.
import { join } from "node:path";
import { readPage, ROOT } from "./support/markdown-blocks.ts";
import { TABLES, withTable } from "./support/tables.ts";

for (const [page, name, text] of TABLES) await Bun.write(join(ROOT, page), withTable(await readPage(page), name, text));

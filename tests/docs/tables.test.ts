import { expect, test } from "bun:test";
import { readPage } from "./support/markdown-blocks.ts";
import { TABLES, withTable } from "./support/tables.ts";

test.each(TABLES)(
  "%s has the %s that the code has (bun tests/docs/write-tables.ts puts them there)",
  async (page, name, text) => {
    const markdown = await readPage(page);
    expect(markdown).toBe(withTable(markdown, name, text));
  },
);

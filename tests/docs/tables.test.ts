import { expect, test } from "bun:test";
import { readPage } from "./support/markdown-blocks.ts";
import { TABLES, withTable } from "./support/tables.ts";

test.each(TABLES)(
  "%s has the %s of the code (bun tests/docs/write-tables.ts updates them)",
  async (page, name, text) => {
    const markdown = await readPage(page);
    expect(markdown).toBe(withTable(markdown, name, text));
  },
);

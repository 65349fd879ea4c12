import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { optionsTable } from "../lib/command.ts";

const readme = await Bun.file(`${import.meta.dir}/../README.md`).text();

test("README.md has the table of options that the server has", () => {
  expect(readme).toContain(`<!-- options -->\n${optionsTable().trim()}\n<!-- /options -->`);
});

test("README.md names only files that are there", () => {
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)\)/g)].map(([, path = ""]) => path);
  expect(links.length).toBeGreaterThan(3);
  expect(links.filter((path) => !existsSync(`${import.meta.dir}/../${path}`))).toEqual([]);
});

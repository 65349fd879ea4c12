import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { optionsTable } from "../lib/cli/help.ts";
import { LABEL_SETTINGS } from "../lib/domain/images/labels.ts";
import { settingsTable } from "./support/settings-table.ts";

const readme = await Bun.file(`${import.meta.dir}/../README.md`).text();

test("README.md has the table of options that the server has", () => {
  expect(readme).toContain(`<!-- options -->\n${optionsTable().trim()}\n<!-- /options -->`);
});

test("README.md has the table of settings that a function has, and those that an image's labels can give", () => {
  expect(readme).toContain(`<!-- settings -->\n${settingsTable()}\n<!-- /settings -->`);
  const labels = LABEL_SETTINGS.map((name) => `\`${name}\``).join(", ");
  expect(readme).toContain(`<!-- labels -->${labels}<!-- /labels -->`);
});

test("README.md names only files that are there", () => {
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)\)/g)].map(([, path = ""]) => path);
  expect(links.length).toBeGreaterThan(3);
  expect(links.filter((path) => !existsSync(`${import.meta.dir}/../${path}`))).toEqual([]);
});

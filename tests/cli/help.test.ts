import { expect, test } from "bun:test";
import { helpText, optionsTable } from "../../lib/cli/help.ts";
import { OPTIONS } from "../../lib/config/options.ts";

test("helpText and optionsTable name every option with its default", () => {
  for (const option of Object.values(OPTIONS)) {
    expect(helpText()).toContain(`--${option.flag} ${option.value}`);
    expect(helpText()).toContain(`[${option.variable}; default: `);
    expect(optionsTable()).toContain(`| \`--${option.flag}\` | \`${option.variable}\` | `);
  }
  expect(optionsTable()).toContain("| `--max-request-bytes` | `MAX_REQUEST_BYTES` | 6MiB | ");
  const cells = optionsTable()
    .trim()
    .split("\n")
    .map((row) => row.split("|").length);
  expect(new Set(cells)).toEqual(new Set([6]));
});

test("helpText fits a terminal", () => {
  expect(
    Math.max(
      ...helpText()
        .split("\n")
        .map((line) => line.length),
    ),
  ).toBeLessThanOrEqual(100);
});

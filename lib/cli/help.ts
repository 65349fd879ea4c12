import type { Option } from "../config/option.ts";
import { OPTIONS } from "../config/options.ts";
import { APPLY_FLAGS, COMMANDS } from "./command.ts";

/** Returns the text of `slipway --help`. */
export function helpText(): string {
  const commands = Object.entries(COMMANDS).map(
    ([name, { argument, help }]) => [`${name} ${argument}`.trim(), help] as const,
  );
  const options = Object.values<Option>(OPTIONS).map((option) => {
    return [
      `--${option.flag} ${option.value}`,
      `${option.help}\n[${option.variable}; default: ${defaultOf(option)}]`,
    ] as const;
  });
  return [
    "slipway runs any Docker image as a serverless function behind a plain HTTP API.",
    "",
    "Usage: slipway [command] [options]",
    "",
    "Commands:",
    ...columns(commands),
    "",
    "Options, with the environment variable that sets the same; a flag takes precedence:",
    ...columns([
      ...options,
      ...Object.entries(APPLY_FLAGS).map(([flag, help]) => [`--${flag}`, help] as const),
      ["-h, --help", "Print this help."],
      ["-v, --version", "Print the version."],
    ]),
    "",
    "A running server has the manual at /docs and the API at /swagger.",
    "",
  ].join("\n");
}

const HELP_WIDTH = 100;

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const indent = Math.max(...rows.map(([left]) => left.length)) + 4;
  return rows.map(([left, right]) => {
    const lines = right.split("\n").flatMap((line) => wrap(line, HELP_WIDTH - indent));
    return `  ${left}`.padEnd(indent) + lines.join(`\n${" ".repeat(indent)}`);
  });
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Returns the options as a Markdown table, for the manual. */
export function optionsTable(): string {
  const rows = Object.values<Option>(OPTIONS).map((option) =>
    [`\`--${option.flag}\``, `\`${option.variable}\``, defaultOf(option), option.help].join(" | "),
  );
  return [
    "| flag | variable | default | meaning |",
    "| --- | --- | --- | --- |",
    ...rows.map((row) => `| ${row} |`),
    "",
  ].join("\n");
}

function defaultOf(option: Option): string {
  if (option.defaultHelp !== undefined) return option.defaultHelp;
  return typeof option.default === "string" ? option.default : "none";
}

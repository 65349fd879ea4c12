import { parseArgs } from "node:util";
import { closest } from "fastest-levenshtein";
import { messageOf } from "../domain/errors.ts";
import type { ApplyOptions } from "../domain/manifest/manifest.ts";
import {
  ConfigError,
  OPTIONS,
  readConfig,
  thisMachine,
  type Config,
  type Machine,
  type Variables,
} from "../config/config.ts";

/** What `slipway` was asked to do. */
export type Command =
  | { readonly command: "serve" | "healthcheck" | "openapi" | "export"; readonly config: Config }
  | ({ readonly command: "apply"; readonly config: Config; readonly file: string } & ApplyOptions)
  | { readonly command: "backup"; readonly config: Config; readonly file: string }
  | { readonly command: "help" | "version" };

const COMMANDS = {
  serve: { argument: "", help: "Start the server (what slipway alone does, too)." },
  healthcheck: { argument: "", help: "Ask the server that these options describe; exit 0 if it is ready." },
  apply: {
    argument: "[FILE]",
    help:
      "Make the functions and routes of the server that these options describe what FILE (slipway.yaml; - is standard " +
      "input) says, with this environment's variables. Prints what has changed.",
  },
  export: { argument: "", help: "Print the functions and routes of that server as such a file." },
  backup: { argument: "FILE", help: "Copy the database to a new FILE; safe while the server runs." },
  openapi: { argument: "", help: "Print the OpenAPI document." },
  help: { argument: "", help: "Print this." },
  version: { argument: "", help: "Print the version." },
} as const;

type CommandName = keyof typeof COMMANDS;

/** Flags of `apply` alone. */
const APPLY_FLAGS = {
  "dry-run": "With apply: only print what would change; exit 3 if anything would.",
  prune: "With apply: delete what FILE does not mention, but functions without a name.",
  pull: "With apply: pull all images anew.",
} as const;

const FLAGS = {
  ...Object.fromEntries(Object.values(OPTIONS).map(({ flag }) => [flag, { type: "string" }] as const)),
  "dry-run": { type: "boolean" },
  prune: { type: "boolean" },
  pull: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

/**
 * Reads the command line (without the program's name) and the environment.
 * Throws a `ConfigError`; `help` and `version` work whatever the environment holds.
 */
export function parseCommand(argv: readonly string[], env: Variables, machine: Machine = thisMachine()): Command {
  const { values, positionals } = parseFlags(argv);
  const [first = "serve", ...rest] = positionals;
  const command = commandNamed(first);
  if (values.help === true || command === "help") return { command: "help" };
  if (values.version === true || command === "version") return { command: "version" };
  const takesFile = COMMANDS[command].argument !== "";
  const [file, ...more] = takesFile ? rest : [undefined, ...rest];
  if (more[0] !== undefined)
    throw new ConfigError(`Unexpected argument "${more[0]}" after "${command}": see slipway --help`);
  const stray = Object.keys(APPLY_FLAGS).find((name) => command !== "apply" && Object.hasOwn(values, name));
  if (stray !== undefined) throw new ConfigError(`--${stray} is for slipway apply: leave it out`);
  const flags = Object.fromEntries(Object.entries<unknown>(values).filter(isFlag));
  const config = readConfig(flags, env, machine);
  if (command === "apply") {
    const { "dry-run": dry_run = false, prune = false, pull = false } = values;
    return { command, config, file: file ?? "slipway.yaml", dry_run, prune, pull };
  }
  if (command !== "backup") return { command, config };
  if (file === undefined || file === "") throw new ConfigError("No FILE to write: use slipway backup FILE");
  return { command, config, file };
}

function isFlag(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === "string";
}

function parseFlags(argv: readonly string[]) {
  const args = [...argv];
  const { tokens } = parseArgs({ args, options: FLAGS, strict: false, tokens: true });
  const unknown = tokens.find((token) => token.kind === "option" && !Object.hasOwn(FLAGS, token.name));
  if (unknown?.kind === "option") {
    const nearest = closest(unknown.name.toLowerCase().replaceAll("_", "-"), Object.keys(FLAGS));
    throw new ConfigError(`Unknown option ${unknown.rawName}: did you mean --${nearest}?`);
  }
  try {
    return parseArgs({ args, options: FLAGS, strict: true, allowPositionals: true });
  } catch (error) {
    throw new ConfigError(messageOf(error).replaceAll("\n", " "), { cause: error });
  }
}

function commandNamed(text: string): CommandName {
  const names = Object.keys(COMMANDS);
  const known = (name: string): name is CommandName => names.includes(name);
  if (known(text)) return text;
  throw new ConfigError(`Unknown command "${text}": did you mean "${closest(text, names)}"?`);
}

/** What `slipway --help` prints. */
export function helpText(): string {
  const commands = Object.entries(COMMANDS).map(
    ([name, { argument, help }]) => [`${name} ${argument}`.trim(), help] as const,
  );
  const options = Object.values(OPTIONS).map((option) => {
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
    "Options; most have an environment variable that sets them, too; a flag wins:",
    ...columns([
      ...options,
      ...Object.entries(APPLY_FLAGS).map(([flag, help]) => [`--${flag}`, help] as const),
      ["-h, --help", "Print this."],
      ["-v, --version", "Print the version."],
    ]),
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

/** The options as a table in Markdown, for the README. */
export function optionsTable(): string {
  const rows = Object.values(OPTIONS).map((option) =>
    [`\`--${option.flag}\``, `\`${option.variable}\``, defaultOf(option), option.help].join(" | "),
  );
  return [
    "| flag | variable | default | meaning |",
    "| --- | --- | --- | --- |",
    ...rows.map((row) => `| ${row} |`),
    "",
  ].join("\n");
}

function defaultOf(option: (typeof OPTIONS)[keyof typeof OPTIONS]): string {
  if ("defaultHelp" in option) return option.defaultHelp;
  return option.default ?? "none";
}

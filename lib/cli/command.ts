import { closest } from "fastest-levenshtein";
import { messageOf } from "../domain/errors.ts";
import type { ApplyOptions } from "../domain/manifest/manifest.ts";
import { type Config, ConfigError, readConfig, thisMachine, type Variables } from "../config/config.ts";
import type { Machine } from "../config/option.ts";
import { OPTIONS } from "../config/options.ts";

/** A command with its arguments, as the command line gives it. */
export type Command =
  | { readonly command: "serve" | "healthcheck" | "sweep" | "openapi" | "export"; readonly config: Config }
  | ({ readonly command: "apply"; readonly config: Config; readonly file: string } & ApplyOptions)
  | { readonly command: "backup"; readonly config: Config; readonly file: string }
  | { readonly command: "help" | "version" };

/** All commands; `argument` is empty for those that take none. */
export const COMMANDS = {
  serve: { argument: "", help: "Start the server (the default command)." },
  healthcheck: {
    argument: "",
    help: "Ask the server at --url, or --host and --port, whether it is ready; exit 0 if it is.",
  },
  apply: {
    argument: "[FILE]",
    help:
      "Apply FILE (default slipway.yaml, - for stdin) to the server at --url, or --host and --port, with the variables of this " +
      "environment. Prints the changes.",
  },
  export: { argument: "", help: "Print the functions and routes of that server as such a file." },
  backup: { argument: "FILE", help: "Copy the database to a new FILE; safe while the server is running." },
  sweep: {
    argument: "",
    help: "Remove the containers that a killed server left on the engine; only while no server uses the data directory.",
  },
  openapi: { argument: "", help: "Print the OpenAPI document." },
  help: { argument: "", help: "Print this help." },
  version: { argument: "", help: "Print the version." },
} as const;

type CommandName = keyof typeof COMMANDS;

/** Flags that only `apply` takes, with their help. */
export const APPLY_FLAGS = {
  "dry-run": "With apply: only print what would change; exit 3 if there are changes.",
  prune: "With apply: delete functions and routes that FILE does not mention; unnamed functions stay.",
  pull: "With apply: pull all images again.",
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
 * Reads the command line (without the program's name) and the environment. Throws a `ConfigError`, but not for `help` and
 * `version` in a wrong environment.
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
  if (argv.length === 0) return { values: {}, positionals: [] };
  const args = [...argv];
  const { parseArgs } = process.getBuiltinModule("node:util");
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

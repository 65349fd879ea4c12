import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { CommanderError } from "commander";
import { closest, distance } from "fastest-levenshtein";
import { ConfigError } from "../config/config.ts";

/** Returns whether the parser has stopped because it has printed what was asked for: a help, or the version. */
export function isAnswered(error: unknown): boolean {
  return error instanceof CommanderError && error.exitCode === 0;
}

/** Returns the error for a wrong command line in our words: what is wrong, and what to type instead. */
export function parseError(root: CommandUnknownOpts, { code, message }: CommanderError): Error {
  const command = commandIn(root);
  const path = pathOf(command);
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? "";
  switch (code) {
    case "commander.unknownOption":
      return unknownOption(command, quoted);
    case "commander.excessArguments": {
      const text = command.args[command.registeredArguments.length] ?? "";
      const names = command.commands.map((one) => one.name());
      if (command.parent === null) return unknownCommand(text, names);
      if (names.length > 0) return unknownCommand(text, names, path);
      return new ConfigError(`Unexpected argument ${JSON.stringify(text)} after "${path}": see slipway ${path} --help`);
    }
    case "commander.missingArgument":
      return new ConfigError(`No ${quoted}: use slipway ${path} ${usageOf(command)}`);
    case "commander.optionMissingArgument": {
      const [flag = "", value = ""] = quoted.split(/, | /).slice(-2);
      return new ConfigError(`No value after ${flag}: use ${flag} ${value.replace(/^<|>$/g, "")}`);
    }
    case "commander.missingMandatoryOptionValue": {
      const [flag = "", value = ""] = quoted.split(/, | /).slice(-2);
      const use = [path, usageOf(command), flag, value.replace(/[<>.]/g, "").toUpperCase()].filter(Boolean).join(" ");
      return new ConfigError(`No ${flag}: use slipway ${use}`);
    }
    case "commander.invalidArgument":
      return invalidValue(message);
    default:
      return otherError(message);
  }
}

/** Returns the error for a value of an option or of an argument. */
function invalidValue(message: string): ConfigError {
  const [, option, ofOption, adviceForOption] =
    /^error: option '(.*?)' argument '(.*)' is invalid\. ?(.*)$/s.exec(message) ?? [];
  const [, ofArgument, argument, adviceForArgument] =
    /^error: command-argument value '(.*)' is invalid for argument '(.*?)'\. ?(.*)$/s.exec(message) ?? [];
  const name = option === undefined ? argument : /--[a-z-]+/.exec(option)?.[0];
  const value = ofOption ?? ofArgument;
  if (name === undefined || value === undefined) return otherError(message);
  const advice = (adviceForOption ?? adviceForArgument ?? "").replace(/^Allowed choices are /, "give one of ");
  const words = advice.charAt(0).toLowerCase() + advice.slice(1).replace(/\.$/, "");
  return new ConfigError(`Invalid ${name} ${JSON.stringify(value)}: ${words}`);
}

function otherError(message: string): ConfigError {
  const plain = message
    .replace(/^error: /, "")
    .replaceAll("\n", " ")
    .replaceAll("'", '"');
  return new ConfigError(plain.charAt(0).toUpperCase() + plain.slice(1));
}

/** Returns the command that the arguments lead to: the program itself, or one of its commands, or one of theirs. */
function commandIn(root: CommandUnknownOpts): CommandUnknownOpts {
  let command = root;
  for (const word of root.args) {
    const next = command.commands.find((one) => one.name() === word);
    if (next === undefined) break;
    command = next;
  }
  return command;
}

function pathOf(command: CommandUnknownOpts): string {
  return command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

function usageOf(command: CommandUnknownOpts): string {
  return command.registeredArguments
    .map((argument) => {
      const name = `${argument.name().toUpperCase()}${argument.variadic ? "..." : ""}`;
      return argument.required ? name : `[${name}]`;
    })
    .join(" ");
}

/** Returns the error for an option that the command does not have, with the closest one that it or the program has. */
function unknownOption(command: CommandUnknownOpts, given: string): ConfigError {
  const [name = ""] = given.split("=");
  const known: string[] = ["--help"];
  for (let one: CommandUnknownOpts | null = command; one !== null; one = one.parent) {
    known.push(...one.options.flatMap(({ long }) => long ?? []));
  }
  if (known.includes(name))
    return new ConfigError(`${name} does not take a value: leave out "${given.slice(name.length)}"`);
  const text = name.toLowerCase().replaceAll("_", "-");
  const hint = nearest(text, known);
  const path = pathOf(command);
  const isLike = command.parent === null || 2 * distance(text, hint) <= hint.length - "--".length;
  return new ConfigError(`Unknown option ${name}: ${isLike ? `did you mean ${hint}?` : `see slipway ${path} --help`}`);
}

function unknownCommand(text: string, names: readonly string[], path?: string): ConfigError {
  const prefix = path === undefined ? "" : `${path} `;
  const hint = nearest(text, names);
  // A word that is not like any is not mistyped.
  const advice =
    path === undefined || distance(text, hint) < hint.length
      ? `did you mean "${prefix}${hint}"?`
      : `give one of ${names.toSorted().join(", ")}`;
  return new ConfigError(`Unknown command ${JSON.stringify(prefix + text)}: ${advice}`);
}

/** Returns the closest of some words; of several that are as close, one with the same letters: two of them were swapped. */
function nearest(text: string, words: readonly string[]): string {
  const found = closest(text, words);
  const letters = (word: string) => word.split("").toSorted().join("");
  const same = words.find((word) => letters(word) === letters(text));
  return same !== undefined && distance(text, same) <= distance(text, found) ? same : found;
}

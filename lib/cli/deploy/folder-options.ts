import type { Command } from "@commander-js/extra-typings";
import { ConfigError } from "../../config/config.ts";
import { repeated } from "../option-readers.ts";

/** Gives a command the options of whatever builds a folder and makes a function of it; `named` says how it is named by default. */
export function folderOptions(command: Command, named: string) {
  return command
    .option("--name <name>", `The name of the function; by default ${named}.`)
    .option("--route <path>", "The path below /r; by default the function's own route, or else /NAME.")
    .option(
      "--env <key=value>",
      "An environment variable of the function, in place of all that it has; can be given several times.",
      repeated,
    )
    .option("--dockerfile <path>", "The Dockerfile in the folder; by default Dockerfile, or else a template.")
    .option("--target <stage>", "The stage to build; by default the last one.")
    .option("--build-arg <key=value>", "A value for the Dockerfile's ARG; can be given several times.", repeated);
}

/** Reads options such as `--env KEY=VALUE`; undefined if there are none. Throws a `ConfigError`. */
export function pairs(option: string, texts: readonly string[] | undefined): Record<string, string> | undefined {
  if (texts === undefined) return undefined;
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new ConfigError(`Invalid ${option} ${JSON.stringify(text)}: give KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)] as const;
    }),
  );
}

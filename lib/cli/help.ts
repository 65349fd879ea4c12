import { Help, Option as CommanderOption } from "@commander-js/extra-typings";
import type { Option } from "../config/option.ts";
import { OPTIONS } from "../config/options.ts";
import { COMMANDS, type CommandEntry, isCommand, type Uses } from "./command-table.ts";
import { FLAGS } from "./flags.ts";

/** The part of a command that its help needs. */
interface Described {
  readonly parent: Described | null;
  name(): string;
}

type OptionName = keyof typeof OPTIONS;

const CLIENT: readonly OptionName[] = ["url", "server", "apiKey", "apiKeyFile", "ca", "allowHttp"];
const DATA: readonly OptionName[] = ["dataPath", "osEnv"];
const ENGINE: readonly OptionName[] = [...DATA, "dockerHost", "dockerTlsVerify", "dockerCertPath"];
const ONLY_CLIENT: ReadonlySet<OptionName> = new Set<OptionName>(["url", "server", "ca", "allowHttp"]);
// Object.keys forgets the type of the keys.
const SERVER = (Object.keys(OPTIONS) as OptionName[]).filter((name) => !ONLY_CLIENT.has(name));

const SHOWN: Readonly<Record<Uses, readonly OptionName[]>> = {
  server: SERVER,
  client: CLIENT,
  data: DATA,
  engine: ENGINE,
  nothing: [],
};

/** Returns the words of commander's help that are ours. */
export function helpWords(): Partial<Help> {
  return {
    showGlobalOptions: true,
    visibleGlobalOptions: optionsOf,
    visibleOptions: (command) => {
      const options = new Help().visibleOptions(command);
      // The program's own are those of its commands: their help shows them.
      return command.parent === null
        ? options.filter(({ long }) => long === "--version" || long === "--help")
        : options;
    },
    optionDescription: ({ description, argChoices, defaultValue }) => {
      const notes = [
        ...(argChoices === undefined ? [] : [argChoices.join(", ")]),
        ...(defaultValue === undefined || defaultValue === false ? [] : [`default: ${String(defaultValue)}`]),
      ];
      return notes.length === 0 ? description : `${description} (${notes.join("; ")})`;
    },
    styleTitle: (title) => (title === "Global Options:" ? "Shared options:" : title),
  };
}

/** Returns the options of the whole program that the help of a command shows: those that it obeys. */
function optionsOf(command: Described): CommanderOption[] {
  const entry = entryOf(command);
  if (entry === undefined) return [];
  const options = SHOWN[entry.uses].map((name) => {
    const option: Option = OPTIONS[name];
    const usual = (entry.uses === "client" ? option.clientDefaultHelp : undefined) ?? defaultOf(option);
    return new CommanderOption(
      `--${option.flag} <${option.value}>`,
      `${option.help} [${option.variable}; default: ${usual}]`,
    );
  });
  return [...entry.flags.map((flag) => new CommanderOption(`--${flag}`, FLAGS[flag])), ...options];
}

/** Returns the entry of a command, or of the one that it belongs to; undefined for the program itself. */
export function entryOf(command: Described): CommandEntry | undefined {
  if (command.parent === null) return undefined;
  const name = command.name();
  return command.parent.parent === null && isCommand(name) ? COMMANDS[name] : entryOf(command.parent);
}

/** The last lines of `slipway --help`. */
export const HELP_END = `
"slipway help COMMAND" tells more about a command, "slipway serve --help" all options of the server.
A running server has the manual at /docs and the API at /swagger.`;

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

/** Returns the commands as a Markdown table, for the manual. */
export function commandsTable(): string {
  const rows = Object.entries<CommandEntry>(COMMANDS).filter(([, { isHidden }]) => isHidden !== true);
  return [
    "| command | what it does |",
    "| --- | --- |",
    ...rows.map(([name, { summary }]) => `| \`slipway ${name}\` | ${summary} |`),
    "",
  ].join("\n");
}

function defaultOf(option: Option): string {
  if (option.defaultHelp !== undefined) return option.defaultHelp;
  return typeof option.default === "string" ? option.default : "none";
}

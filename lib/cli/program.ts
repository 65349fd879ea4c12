import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { ConfigError, type Flags, readConfig, type Variables } from "../config/config.ts";
import type { Machine } from "../config/option.ts";
import { OPTIONS } from "../config/options.ts";
import { VERSION } from "../version.ts";
import { ApiClient } from "./api/api-client.ts";
import { chooseConnection } from "./api/connection.ts";
import { type CommandEntry, COMMANDS, GROUPS, isCommand } from "./command-table.ts";
import { FLAGS, type FlagName } from "./flags.ts";
import { entryOf, HELP_END, helpWords } from "./help.ts";
import { Output, type Stream } from "./output/output.ts";
import { isAnswered, parseError } from "./parse-errors.ts";
import type { ServerTasks, Tools } from "./tools.ts";

/** The surroundings of a program. */
export interface Context {
  readonly env: Variables;
  readonly machine: Machine;
  readonly tasks: ServerTasks;
  readonly stdout: Stream & { readonly columns?: number };
  readonly stderr: Stream;
}

/** The widest help, in columns. */
const HELP_WIDTH = 100;

// Object.keys forgets the type of the keys.
const FLAG_NAMES = Object.keys(FLAGS) as FlagName[];

/** Runs a command line and returns the exit code. Throws a `ConfigError`, or what the command throws. */
export async function runProgram(argv: readonly string[], context: Context): Promise<number> {
  const program = createProgram(context);
  try {
    await program.root.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (!isAnswered(error)) throw error;
  }
  return program.exitCode();
}

/**
 * Makes the program: all options, and all commands by name. The file of a command is loaded when the command is used;
 * without a command, the program serves.
 */
export function createProgram(context: Context): {
  readonly root: CommandUnknownOpts;
  readonly exitCode: () => number;
} {
  const { env, machine, tasks, stdout, stderr } = context;
  let exitCode = 0;
  const root = new Command("slipway");
  const flags = () => flagsIn(root.opts());
  const isSet = (flag: FlagName) => root.getOptionValue(camelCase(flag)) === true;
  const config = () => readConfig(flags(), env, machine);
  const tools: Tools = {
    env,
    tasks,
    out: new Output({ stdout, stderr, env, json: () => isSet("json") }),
    config,
    isSet,
    client: () => new ApiClient(chooseConnection(config(), flags(), env)),
    exitWith: (code) => void (exitCode = code),
    wholeProgram: async () => {
      await Promise.all(root.commands.map((command) => define(command, tools)));
      return root;
    },
  };
  describe(root, context);
  for (const [name, { summary, group, isHidden }] of Object.entries<CommandEntry>(COMMANDS)) {
    root
      .command(name, { hidden: isHidden === true })
      .summary(summary)
      .description(summary)
      .helpGroup(GROUPS[group]);
  }
  root
    .hook("preSubcommand", (_, command) => define(command, tools))
    .hook("preAction", (_, command) => checkFlags(command, isSet))
    .action(() => {
      const read = config();
      return tasks.serve(read).then(tools.exitWith);
    });
  return { root, exitCode: () => exitCode };
}

/** Gives the program its options, its help and its words for errors. Commands inherit them. */
function describe(root: Command, { stdout }: Context): void {
  for (const { flag, value, help } of Object.values(OPTIONS)) root.addOption(new Option(`--${flag} <${value}>`, help));
  for (const flag of FLAG_NAMES) root.addOption(new Option(`--${flag}`, FLAGS[flag]));
  root
    .description("slipway runs any Docker image as a serverless function behind a plain HTTP API.")
    .usage("[command] [options]")
    .version(`slipway ${VERSION}`, "-v, --version", "Print the version.")
    .helpOption("-h, --help", "Print the help of a command.")
    .helpCommand(false)
    .configureHelp(helpWords())
    .addHelpText("after", HELP_END)
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      // Errors are thrown, and printed with all others.
      writeErr: () => undefined,
      getOutHelpWidth: () => Math.min(stdout.columns ?? HELP_WIDTH, HELP_WIDTH),
    })
    .exitOverride((error) => {
      throw isAnswered(error) ? error : parseError(root, error);
    });
}

const defined = new WeakSet<CommandUnknownOpts>();

/** Loads the file of a command, unless that was done. */
async function define(command: CommandUnknownOpts, tools: Tools): Promise<void> {
  const name = command.name();
  if (!isCommand(name) || defined.has(command)) return;
  defined.add(command);
  const module = await COMMANDS[name].load();
  // A command that `root.command` has just made has neither arguments nor options.
  module.define(command as Command, tools);
}

/** Throws a `ConfigError` for a flag that is for other commands: whoever gives it expects it to do something. */
function checkFlags(command: CommandUnknownOpts, isSet: (flag: FlagName) => boolean): void {
  const taken = entryOf(command)?.flags ?? [];
  const stray = FLAG_NAMES.find((flag) => isSet(flag) && !taken.includes(flag));
  if (stray === undefined) return;
  const owners = Object.entries(COMMANDS).filter(([, entry]) => entry.flags.some((flag) => flag === stray));
  const names = owners.map(([name]) => name).join(" and ");
  const words = owners.length <= 2 ? `for slipway ${names}` : "for commands that print records";
  throw new ConfigError(`--${stray} is ${words}: leave it out`);
}

/** Returns the values that were typed, by flag. */
function flagsIn(values: Readonly<Record<string, unknown>>): Flags {
  return Object.fromEntries(
    Object.values(OPTIONS).flatMap(({ flag }) => {
      const value = values[camelCase(flag)];
      return typeof value === "string" ? [[flag, value] as const] : [];
    }),
  );
}

/** Returns the name under which the parser keeps the value of a flag. */
function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

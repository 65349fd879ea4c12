import { type Command as Completed, RootCommand } from "@bomb.sh/tab";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { isKind, type Kind, namesOf } from "../../api/names.ts";
import { readSavedServers } from "../../api/saved-servers.ts";
import { printed } from "../../printed.ts";
import type { Define, Tools } from "../../tools.ts";

/** The time that the server may take to tell its names, in milliseconds: somebody waits with a finger on the key. */
const TIMEOUT_MS = 1_500;

/** Shells run completions through their own expansion: only what they take as it is may be offered. */
const PLAIN = /^[\w@%+=:,./-]+$/;

/** Tells the shell to complete the names of files. */
const FILES = ":0";

/** `slipway complete -- WORD...`: what the scripts of `slipway completion` ask at each Tab. */
export const define: Define = (command, tools) => {
  command.argument("[word...]").action(async (words) => {
    const root = await tools.wholeProgram();
    const wanted = new Set<string>();
    // The first time only to find out which names are wanted, as the library does not wait for them.
    printed(() => treeOf(root, (name) => void wanted.add(name)).parse([...words]));
    const names = new Map<string, readonly string[]>();
    for (const name of wanted) names.set(name, await namesFor(name, root, tools));
    const lines = printed(() => treeOf(root, (name) => names.get(name)).parse([...words]));
    if (wanted.has("FILE")) lines[lines.length - 1] = FILES;
    tools.out.raw(`${lines.join("\n")}\n`);
  });
};

type NamesOf = (name: string) => readonly string[] | void;

/** Describes the whole program to the library. `names` has the values of arguments and options, by their placeholder. */
function treeOf(root: CommandUnknownOpts, names: NamesOf): RootCommand {
  const tree = new RootCommand();
  addOptions(tree, root, names);
  const add = (command: CommandUnknownOpts, path: string): void => {
    const completed = tree.command(path, plain(command.summary() || command.description()));
    addOptions(completed, root, names);
    addOptions(completed, command, names);
    for (const argument of command.registeredArguments) {
      const values = () => argument.argChoices ?? names(argument.name());
      const offer = (complete: (value: string, description: string) => void) =>
        (values() ?? []).forEach((value) => complete(value, ""));
      completed.argument(argument.name(), offer, argument.variadic);
    }
    for (const one of visible(command)) add(one, `${path} ${one.name()}`);
  };
  for (const command of visible(root)) add(command, command.name());
  return tree;
}

function addOptions(completed: Completed, command: CommandUnknownOpts, names: NamesOf): void {
  const help = command.createHelp();
  const globals = command.parent === null ? [] : help.visibleGlobalOptions(command);
  for (const option of [...help.visibleOptions(command), ...globals]) {
    const name = option.long?.slice(2);
    if (name === undefined) continue;
    const short = option.short?.slice(1);
    if (option.isBoolean()) {
      if (short === undefined) completed.option(name, plain(option.description));
      else completed.option(name, plain(option.description), short);
      continue;
    }
    const placeholder = /[<[]([\w-]+)/.exec(option.flags)?.[1] ?? "";
    const offer = (complete: (value: string, description: string) => void) =>
      (option.argChoices ?? names(placeholder) ?? []).forEach((value) => complete(value, ""));
    completed.option(name, plain(option.description), offer, short);
  }
}

function visible(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return command.createHelp().visibleCommands(command);
}

/** Returns the names that may stand for a placeholder. None if the server does not tell, for whatever reason. */
async function namesFor(name: string, root: CommandUnknownOpts, { client, env }: Tools): Promise<readonly string[]> {
  const found = name.split("|").map(async (kind): Promise<readonly string[]> => {
    if (kind === "command") return visible(root).map((command) => command.name());
    if (kind === "server" || kind === "NAME") return readSavedServers(env).servers.map((server) => server.name);
    return isKind(kind) ? namesInTime(kind, client) : [];
  });
  const all = await Promise.all(found.map((one) => one.catch(() => [])));
  return all.flat().filter((one) => PLAIN.test(one));
}

function namesInTime(kind: Kind, client: Tools["client"]): Promise<readonly string[]> {
  const late = Bun.sleep(TIMEOUT_MS).then(() => []);
  return Promise.race([namesOf(client(), kind), late]);
}

/** Returns a description for one line of a shell's list. */
function plain(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

import { ConfigError, type Flags, readConfig, thisMachine, type Variables } from "../config/config.ts";
import { OPTIONS } from "../config/options.ts";
import { codeOf, messageOf } from "../domain/errors.ts";
import { CommandError, EXIT } from "./exit-codes.ts";
import { printable } from "./output/printable.ts";
import type { ServerTasks } from "./tools.ts";

/** Runs a command line (without the program's name), prints an error if there is one, and returns the exit code. */
export async function run(argv: readonly string[], env: Variables, tasks: ServerTasks): Promise<number> {
  try {
    const flags = serverFlags(argv);
    if (flags !== undefined) return await tasks.serve(readConfig(flags, env, thisMachine()));
    const { runProgram } = await import("./program.ts");
    const { stdout, stderr } = process;
    return await runProgram(argv, { env, machine: thisMachine(), tasks, stdout: untilClosed(stdout), stderr });
  } catch (error) {
    console.error(`slipway: ${printable(messageOf(error))}`);
    if (error instanceof CommandError) return error.exitCode;
    return error instanceof ConfigError ? EXIT.usage : EXIT.failed;
  }
}

/**
 * Returns the flags of a command line that only starts the server; undefined for all others, the wrong ones included. So the
 * server starts without the parser of commands, and its start takes no longer for having them.
 */
export function serverFlags(argv: readonly string[]): Flags | undefined {
  const [first] = argv;
  if (first === undefined) return {};
  if (first !== "serve" && !first.startsWith("-")) return undefined;
  const { parseArgs } = process.getBuiltinModule("node:util");
  const options = Object.fromEntries(Object.values(OPTIONS).map(({ flag }) => [flag, { type: "string" }] as const));
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const [command = "serve", ...more] = positionals;
    return command === "serve" && more.length === 0 ? values : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the program when its reader has left, as `head` does. */
function untilClosed(stdout: NodeJS.WriteStream): NodeJS.WriteStream {
  stdout.on("error", (error) => process.exit(codeOf(error) === "EPIPE" ? EXIT.ok : EXIT.failed));
  return stdout;
}

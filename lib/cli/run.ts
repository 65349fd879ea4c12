import { ConfigError, readConfig, thisMachine, type Variables } from "../config/config.ts";
import { codeOf, messageOf } from "../domain/errors.ts";
import { CommandError, EXIT } from "./exit-codes.ts";
import { printable } from "./output/printable.ts";
import type { ServerTasks } from "./tools.ts";

/** Runs a command line (without the program's name), prints an error if there is one, and returns the exit code. */
export async function run(argv: readonly string[], env: Variables, tasks: ServerTasks): Promise<number> {
  try {
    const [command = "serve", ...more] = argv;
    // The server starts without the parser if there is nothing to parse.
    if (command === "serve" && more.length === 0) return await tasks.serve(readConfig({}, env, thisMachine()));
    const { runProgram } = await import("./program.ts");
    const { stdout, stderr } = process;
    return await runProgram(argv, { env, machine: thisMachine(), tasks, stdout: untilClosed(stdout), stderr });
  } catch (error) {
    console.error(`slipway: ${printable(messageOf(error))}`);
    if (error instanceof CommandError) return error.exitCode;
    return error instanceof ConfigError ? EXIT.usage : EXIT.failed;
  }
}

/** Ends the program when its reader has left, as `head` does. */
function untilClosed(stdout: NodeJS.WriteStream): NodeJS.WriteStream {
  stdout.on("error", (error) => process.exit(codeOf(error) === "EPIPE" ? EXIT.ok : EXIT.failed));
  return stdout;
}

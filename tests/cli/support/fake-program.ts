import { runProgram } from "../../../lib/cli/program.ts";
import type { Config, Variables } from "../../../lib/config/config.ts";

/** The machine of all parsing tests. */
export const MACHINE = { memory_bytes: 1024 ** 3, cpus: 4, directory: "/here" };

/** The effect of a command line on fake tasks, and its output. */
export interface Ran {
  readonly task: string;
  readonly config: Config | undefined;
  readonly file: string | undefined;
  readonly stdout: string;
  readonly code: number;
}

/** Runs a command line whose server tasks only note what they were asked for. Rejects as the program does. */
export async function runFake(argv: readonly string[], env: Variables = {}): Promise<Ran> {
  let ran = { task: "", config: undefined as Config | undefined, file: undefined as string | undefined };
  let stdout = "";
  const decoder = new TextDecoder();
  const code = await runProgram(argv, {
    env: { HOME: "/nowhere", ...env },
    machine: MACHINE,
    tasks: {
      serve: async (config) => {
        ran = { task: "serve", config, file: undefined };
        return 0;
      },
      backup: async (config, file) => void (ran = { task: "backup", config, file }),
      move: async (config, { to, to_file }) => {
        ran = { task: "move", config, file: to ?? to_file ?? undefined };
        return { rows: { functions: 2, routes: 0 }, place: "db/slipway", server_id: "a", key_file: "/d/secret.key" };
      },
      undoMove: async (config) => {
        ran = { task: "undo", config, file: undefined };
        return "db/slipway";
      },
      sweep: async (config) => {
        ran = { task: "sweep", config, file: undefined };
        return 0;
      },
      openApi: async (config, form) => {
        ran = { task: "openapi", config, file: undefined };
        return `{"form":"${form}"}`;
      },
    },
    stdout: {
      columns: 100,
      write: (text) => void (stdout += typeof text === "string" ? text : decoder.decode(text)),
    },
    stderr: { write: () => undefined },
  });
  return { ...ran, stdout, code };
}

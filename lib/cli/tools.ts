import type { Command, CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Config, Variables } from "../config/config.ts";
import type { ApiClient } from "./api/api-client.ts";
import type { FlagName } from "./flags.ts";
import type { Output } from "./output/output.ts";

/** A database to move to, and how. */
export interface MoveTask {
  /** Its URL, or a file with that; both null for that of the configuration. */
  readonly to: string | null;
  readonly to_file: string | null;
  /** True to write nothing in the end. */
  readonly dry_run: boolean;
  /** Called after each batch of a table's rows. */
  readonly progress: (progress: { readonly table: string; readonly moved: number; readonly of: number }) => void;
}

/** The end of a move. */
export interface MovedDatabase {
  /** Rows by table; null if all had moved before, and only the mark was missing. */
  readonly rows: Readonly<Record<string, number>> | null;
  /** The new database, without user and password. */
  readonly place: string;
  /** The name of the server that has what belongs to the engine of the old one. */
  readonly server_id: string;
  /** The file with the key of the secrets; null if the configuration gave the key. */
  readonly key_file: string | null;
}

/** The parts of the server's own code that commands need; the command line does not import them. */
export interface ServerTasks {
  /** Serves until a signal; returns the exit code. */
  serve(config: Config): Promise<number>;
  /** Copies the database to a new file. */
  backup(config: Config, file: string): Promise<void>;
  /** Moves the database in the data directory to PostgreSQL. */
  move(config: Config, task: MoveTask): Promise<MovedDatabase>;
  /** Lets servers start on the database in the data directory again; returns where it had moved to, null if it had not. */
  undoMove(config: Config): Promise<string | null>;
  /** Removes the containers that a killed server left, and returns how many there were. */
  sweep(config: Config): Promise<number>;
  /** Returns the OpenAPI document: with the default forms of answers, or all of them. */
  openApi(config: Config, form: "plain" | "full"): Promise<string>;
}

/** The tools of a command. Nothing is read or connected to before a command asks for it. */
export interface Tools {
  readonly env: Variables;
  readonly tasks: ServerTasks;
  readonly out: Output;
  /** Reads all options. Throws a `ConfigError`. */
  readonly config: () => Config;
  /** Returns the client of the server that the options, or a saved login, name. Throws a `ConfigError`. */
  readonly client: () => ApiClient;
  /** Returns whether a flag was given. */
  readonly isSet: (flag: FlagName) => boolean;
  /** Sets the exit code of a command that goes on to its end. */
  readonly exitWith: (code: number) => void;
  /** The whole program, for commands about commands; all of them loaded and defined. */
  readonly wholeProgram: () => Promise<CommandUnknownOpts>;
}

/** Gives a command its arguments, options and action. */
export type Define = (command: Command, tools: Tools) => void;

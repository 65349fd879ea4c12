import type { Reader } from "./readers.ts";

/** The machine that defaults depend on; tests choose their own. */
export interface Machine {
  readonly memory_bytes: number;
  readonly cpus: number;
  readonly directory: string;
}

/** The facts that a default may depend on. */
export interface Origin extends Machine {
  readonly inContainer: boolean;
}

/** An option of the server: a flag, a variable of the environment, and a default. */
export interface Option {
  readonly flag: string;
  readonly variable: string;
  /** The placeholder for the value in the help. */
  readonly value: string;
  readonly help: string;
  readonly read: Reader<unknown>;
  /** Read like a given value; null if there is none. */
  readonly default: string | ((origin: Origin) => string) | null;
  /** The words of the help for a default that depends on the machine. */
  readonly defaultHelp?: string;
  /** The same for commands that call a server, if their default is another. */
  readonly clientDefaultHelp?: string;
  /** Keeps the value out of messages. */
  readonly secret?: true;
}

/** Options by the name that they have in `Config`. */
export type OptionTable = Readonly<Record<string, Option>>;

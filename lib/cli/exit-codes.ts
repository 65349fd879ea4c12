/** The exit codes of all commands, with their meaning for the manual. */
export const EXIT = {
  ok: 0,
  /** Anything that has no code of its own. */
  failed: 1,
  /** The command line, the environment or a file that it names is wrong. */
  usage: 2,
  /** `apply --dry-run` found changes, or `move --dry-run` something to move. */
  would_change: 3,
  /** The function was called, and answered with an error or failed. */
  function_failed: 4,
} as const;

type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A command that cannot do what it was asked for. The message is for a person, the exit code for a program. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = EXIT.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

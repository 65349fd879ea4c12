import type { ExitFrame } from "../gate-protocol/frames.ts";

const SIGKILL = 9;

/** Returns whether the kernel killed it for its memory, or a child of a shell, which then exits with 128 + 9. */
export function ranOutOfMemory({ oomKills, signal, exitCode }: ExitFrame): boolean {
  return oomKills > 0 && (signal === SIGKILL || exitCode === 128 + SIGKILL);
}

export function hasSucceeded({ signal, exitCode }: ExitFrame): boolean {
  return signal === 0 && exitCode === 0;
}

/** Returns the beginning of a message about a function that has ended. */
export function endingOf({ signal, exitCode }: ExitFrame): string {
  return `The function ${signal === 0 ? `exited with code ${exitCode}` : `was ended by signal ${signal}`}`;
}

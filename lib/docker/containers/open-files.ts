import { readFileSync } from "node:fs";
import type { EngineAddress } from "../../domain/engine-address.ts";
import { NOFILE } from "../../domain/limits.ts";

/** Smaller hard limits to try if an engine refuses the default one. The last is what every process may have. */
const SMALLER = [16_384, 4096, NOFILE.soft];

/**
 * The hard limit of open files that an engine allows: one that is not root on its machine, or lacks CAP_SYS_RESOURCE, cannot
 * give its containers more than it has itself, and refuses to start them. It does not tell what it has, so this begins with
 * what is likely, and goes down when a start is refused.
 */
export class OpenFiles {
  #hard: number;

  /** `likely` is an upper bound; an engine on this machine usually has the same limits as we. */
  constructor(likely: number = NOFILE.hard) {
    this.#hard = Math.max(NOFILE.soft, Math.min(NOFILE.hard, likely));
  }

  /** Begins with our own limit for an engine that is reached through a socket file. */
  static of(engine: EngineAddress): OpenFiles {
    return new OpenFiles("socketPath" in engine ? ownHardLimit() : NOFILE.hard);
  }

  get hard(): number {
    return this.#hard;
  }

  /** Notes that the engine has refused a hard limit, and returns whether there is a smaller one to try. */
  refuse(hard: number): boolean {
    if (hard === this.#hard) this.#hard = SMALLER.find((smaller) => smaller < hard) ?? hard;
    return this.#hard < hard;
  }
}

/** Returns this process's own hard limit; the default if it is unlimited, or the system has no such file. */
function ownHardLimit(): number {
  try {
    const line = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return line === null ? NOFILE.hard : Number(line[1]);
  } catch {
    return NOFILE.hard;
  }
}

import { BUILDER_LABEL } from "../../domain/images/labels.ts";
import type { BuildWatcher } from "../../runner/platform.ts";

interface BuildProgressOptions extends BuildWatcher {
  /** Returns the number of steps that we have added to those of the Dockerfile. */
  readonly added: () => number;
}

/** The engine's own words about a step: it prints each of these in one piece. */
const STEP = /^Step (\d+)\/(\d+) : (.*)$/s;

/** Reads what the classic builder reports, and leaves out the steps that we have added. */
export class BuildProgress {
  readonly #options: BuildProgressOptions;
  #number = 0;
  /** True while a step of ours runs. */
  #isHidden = false;
  #error: string | undefined;

  constructor(options: BuildProgressOptions) {
    this.#options = options;
  }

  /** The engine's words for the failure of the build, if it has failed. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Takes a parsed line of the engine. */
  add(line: unknown): void {
    const { stream, status, id, error, progressDetail } = fieldsOf(line);
    if (typeof error === "string") this.#error = error;
    else if (typeof stream === "string") this.#print(stream);
    // The progress of a pull; its bars are left out.
    else if (typeof status === "string" && fieldsOf(progressDetail)["current"] === undefined) {
      this.#options.onText(typeof id === "string" ? `${id}: ${status}\n` : `${status}\n`);
    }
  }

  #print(text: string): void {
    const [, , total = "", instruction] = STEP.exec(text) ?? [];
    if (instruction === undefined) {
      if (!this.#isHidden) this.#options.onText(text);
      return;
    }
    this.#isHidden = instruction.startsWith(`LABEL ${BUILDER_LABEL}=`);
    if (this.#isHidden) return;
    this.#number += 1;
    const step = { number: this.#number, total: Number(total) - this.#options.added(), instruction };
    this.#options.onStep(step);
    this.#options.onText(`Step ${step.number}/${step.total} : ${instruction}`);
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  // Fields of parsed JSON: each is checked before it is used.
  return value !== null && typeof value === "object" ? (value as Readonly<Record<string, unknown>>) : {};
}

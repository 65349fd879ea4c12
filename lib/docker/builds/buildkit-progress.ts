import { PbfReader } from "pbf";
import type { BuildStep } from "../../domain/builds/builds.ts";
import type { BuildWatcher } from "../../runner/platform.ts";
import { readTrace, type Vertex, type VertexLog, type VertexStatus } from "./buildkit-trace.ts";

/** The name of a vertex that runs an instruction: its stage, if there are several, its number there, and the instruction. */
const STEP = /^\[(?:[^\]]* )?\d+\/\d+\] (.*)$/s;
/** A vertex of the engine's own that is worth a line: it asks a registry. */
const LOOK_UP = /^\[internal\] (load metadata for .*)$/;
/** The error of a vertex that ends because another one has failed. */
const CANCELED = /context canceled$/;
/** The words of the engine before the cause. */
const PREFIX = /^failed to solve: (?:failed to compute cache key: )?(?:failed to calculate checksum of ref \S+: )?/;

/** A step that has started. */
interface Started {
  readonly step: BuildStep;
  readonly decoder: TextDecoder;
}

/**
 * Reads what BuildKit reports. Steps run at once if none needs the other; they are numbered as they start, over all stages,
 * and what they print has the step's name before it whenever it comes from another one.
 */
export class BuildKitProgress {
  readonly #watcher: BuildWatcher;
  /** The instructions of the steps, by digest. */
  readonly #known = new Map<string, string>();
  readonly #started = new Map<string, Started>();
  readonly #told = new Set<string>();
  /** The digest of the step that has printed last. */
  #printing: string | undefined;
  #isLineOpen = false;
  #error: string | undefined;

  constructor(watcher: BuildWatcher) {
    this.#watcher = watcher;
  }

  /** The engine's words for the failure of the build, if it has failed. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Takes a parsed line of the engine. */
  add(line: unknown): void {
    if (line === null || typeof line !== "object") return;
    if ("error" in line && typeof line.error === "string") this.#error = line.error.replace(PREFIX, "");
    if (!("id" in line && line.id === "moby.buildkit.trace" && "aux" in line && typeof line.aux === "string")) return;
    const { vertexes, statuses, logs, warnings } = readTrace(new PbfReader(Buffer.from(line.aux, "base64")));
    for (const { digest, name } of vertexes) {
      const [, instruction] = STEP.exec(name) ?? [];
      if (instruction !== undefined) this.#known.set(digest, instruction);
    }
    for (const vertex of vertexes) this.#work(vertex);
    for (const log of logs) this.#log(log);
    for (const status of statuses) this.#status(status);
    for (const warning of warnings) this.#printLine(`WARNING: ${warning}`);
  }

  #work({ digest, name, cached, started, completed, error }: Vertex): void {
    const instruction = this.#known.get(digest);
    if (instruction === undefined) {
      const [, lookUp] = LOOK_UP.exec(name) ?? [];
      if (lookUp !== undefined && started) this.#once(digest, lookUp);
      return;
    }
    if (!started) return;
    if (!this.#started.has(digest)) this.#start(digest, instruction);
    // Base images are no work; the classic builder does not say it of them, either.
    if (cached && completed && !/^FROM /i.test(instruction)) this.#once(digest, " ---> Using cache", digest);
    // A build that fails ends with the step that has failed, whichever started last.
    const step = this.#started.get(digest)?.step;
    if (error !== "" && !CANCELED.test(error) && step !== undefined) this.#watcher.onStep(step);
  }

  #start(digest: string, instruction: string): void {
    const step = { number: this.#started.size + 1, total: this.#known.size, instruction };
    this.#started.set(digest, { step, decoder: new TextDecoder() });
    this.#watcher.onStep(step);
    this.#printLine(heading(step), digest);
  }

  #log({ vertex, bytes }: VertexLog): void {
    const started = this.#started.get(vertex);
    const text = started?.decoder.decode(bytes, { stream: true }) ?? new TextDecoder().decode(bytes);
    if (text === "") return;
    this.#turnTo(vertex);
    this.#isLineOpen = !text.endsWith("\n");
    this.#watcher.onText(text);
  }

  #status({ id, vertex, completed }: VertexStatus): void {
    // Of layers that are pulled, and unpacked.
    if (completed && /^(?:sha256:|extracting )/.test(id) && this.#started.has(vertex)) {
      this.#once(`${vertex} ${id}`, `${id}: done`, vertex);
    }
  }

  #once(key: string, text: string, digest?: string): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    if (digest !== undefined) this.#turnTo(digest);
    this.#printLine(text, digest);
  }

  /** Names the step whose output comes next, unless it is the same as before. */
  #turnTo(digest: string): void {
    const step = this.#started.get(digest)?.step;
    if (digest === this.#printing || step === undefined) return;
    this.#printLine(heading(step), digest);
  }

  #printLine(text: string, digest?: string): void {
    this.#watcher.onText(`${this.#isLineOpen ? "\n" : ""}${text}\n`);
    this.#isLineOpen = false;
    this.#printing = digest;
  }
}

function heading({ number, total, instruction }: BuildStep): string {
  return `Step ${number}/${total} : ${instruction}`;
}

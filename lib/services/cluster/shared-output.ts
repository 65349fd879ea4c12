import { AppError } from "../../domain/errors.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { History } from "../../store/history.ts";
import type { InvocationEvents } from "../calls/events.ts";
import { type AnswerSeal, SEAL_BYTES } from "./wire/answer-seal.ts";
import type { CheckedRequest, HopCheck } from "./hop-signature.ts";

/** The path at which servers ask each other for the output of an invocation. */
export const OUTPUT_PATH = "/cluster/output";

/** The most of what was printed that one line has: entries, and characters of their texts. */
const LINE = { entries: 500, characters: 64 * 1024 } as const;
/** The most characters of a line: JSON has up to six for one that was printed, and some 150 more for an entry. */
export const LINE_CHARACTERS = 1024 * 1024;
const SIGNATURE_CHARACTERS = 2 * SEAL_BYTES;

/** Returns what was printed as the next lines of an answer, without their ends: each has its signature in front. */
export function* signedLines(entries: readonly LogEntry[], seal: AnswerSeal): Generator<string, void> {
  let line: LogEntry[] = [];
  let characters = 0;
  for (const entry of entries.flatMap(shortened)) {
    if (line.length === LINE.entries || (line.length > 0 && characters + entry.text.length > LINE.characters)) {
      yield signedLine(line, seal);
      line = [];
      characters = 0;
    }
    line.push(entry);
    characters += entry.text.length;
  }
  if (line.length > 0) yield signedLine(line, seal);
}

/** Returns what was printed according to the next line of an answer. Throws if the server that was asked has not written it. */
export function readSignedLine(line: string, seal: AnswerSeal): LogEntry[] {
  const json = line.slice(SIGNATURE_CHARACTERS);
  if (!seal.isNext(Buffer.from(json), Buffer.from(line.slice(0, SIGNATURE_CHARACTERS), "hex")))
    throw new Error("its answer is not signed by the server that was asked");
  return JSON.parse(json) as LogEntry[]; // `signedLines`
}

function signedLine(entries: readonly LogEntry[], seal: AnswerSeal): string {
  const json = JSON.stringify(entries);
  return Buffer.from(seal.next(Buffer.from(json))).toString("hex") + json;
}

/** Cuts an entry that is too long for a line. */
function shortened(entry: LogEntry): LogEntry[] {
  if (entry.text.length <= LINE.characters) return [entry];
  const { dropped_before_bytes: _dropped, ...further } = entry;
  const pieces: LogEntry[] = [];
  for (let at = 0; at < entry.text.length;) {
    let end = at + LINE.characters;
    // Not between the two halves of a character.
    if (/[\ud800-\udbff]/.test(entry.text.charAt(end - 1))) end--;
    pieces.push({ ...(at === 0 ? entry : further), text: entry.text.slice(at, end) });
    at = end;
  }
  return pieces;
}

interface SharedOutputDeps {
  readonly check: HopCheck;
  readonly events: () => Pick<InvocationEvents, "follow" | "output">;
  readonly history: Pick<History, "get" | "writtenElsewhere">;
}

/** The reader of the output of an attempt. */
interface OutputReader {
  /** `past` is true for what was printed before it came. */
  readonly pass: (entries: readonly LogEntry[], past: boolean) => void;
  readonly end: () => void;
}

/** Passes on what an invocation that runs here prints to a server where someone follows it. */
export class SharedOutput {
  readonly #deps: SharedOutputDeps;

  constructor(deps: SharedOutputDeps) {
    this.#deps = deps;
  }

  /** Throws `unauthorized` for a request that no other server has sent. */
  check(request: Request): CheckedRequest {
    return this.#deps.check.check(request, OUTPUT_PATH);
  }

  /** Throws `conflict` unless an invocation runs here. */
  async requireHere(id: string): Promise<void> {
    const { history } = this.#deps;
    const [record, elsewhere] = await Promise.all([history.get(id), history.writtenElsewhere([id])]);
    if (record?.status !== "running" || elsewhere.length > 0)
      throw new AppError("conflict", `Invocation "${id}" does not run on this server`);
  }

  /** Passes on what an invocation has printed and prints until the end of its attempt. The returned function ends that. */
  follow(id: string, { pass, end }: OutputReader): () => void {
    const events = this.#deps.events();
    const printed = events.output(id);
    const unfollow = events.follow(id, (event) => {
      if (event.type === "log") return pass(event.entries, false);
      if (event.invocation.status !== "running" || event.elsewhere === true) end();
    });
    if (printed !== undefined) pass(printed, true);
    return unfollow;
  }
}

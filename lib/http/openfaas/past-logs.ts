import type { Clock } from "../../clock.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import { Slices } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import { PAGE } from "../../domain/limits.ts";
import { CallLines, type LogMessage } from "../../domain/openfaas/log-messages.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";

/** The logs that a request asks for. */
export interface AskedLogs {
  readonly function_id: string;
  /** The name of the function. */
  readonly name: string;
  readonly since: string | undefined;
  /** The number of past lines; undefined for all. */
  readonly lines: number | undefined;
  /** The only invocation. */
  readonly instance: string | undefined;
}

/** The dependencies of the past: the records of calls and what they have printed. */
interface PastDeps {
  readonly invocations: Pick<InvocationService, "get" | "list" | "logs">;
  readonly clock: Pick<Clock, "now">;
}

/** The latest calls whose output is looked through, if the request does not say since when, and the most in any case. */
export const PAST_CALLS = { usual: 100, most: 10_000 } as const;
/** The most of the past in one answer: the latest lines, and the characters in them. */
export const PAST = { lines: 20_000, characters: 4 * 1024 * 1024 } as const;
/** The most lines that become text at once. */
const PIECE_LINES = 500;

interface Call {
  readonly id: string;
  readonly created_at: string;
}

/** A call with lines that are sent. */
interface Part extends Call {
  /** Lines at its beginning that are not: they would be too many. */
  readonly left_out: number;
}

/**
 * Returns what calls have printed as lines of JSON, oldest first, made as it is read: it is read once to find the first line, and
 * again to send it, so that only the output of one call is in memory. Throws `not_found` for an unknown `instance`.
 */
export async function pastText(deps: PastDeps, asked: AskedLogs, signal: AbortSignal): Promise<AsyncGenerator<string>> {
  return textOf(deps, asked, await partsOf(deps, asked, signal));
}

async function* textOf(deps: PastDeps, asked: AskedLogs, parts: readonly Part[]): AsyncGenerator<string> {
  const slices = new Slices();
  for (const part of parts) {
    let left_out = part.left_out;
    for await (const messages of messagesOf(deps, asked, part)) {
      for (let at = Math.min(left_out, messages.length); at < messages.length; at += PIECE_LINES) {
        yield messages
          .slice(at, at + PIECE_LINES)
          .map(lineOf)
          .join("");
        if (slices.over) await slices.next();
      }
      left_out = Math.max(0, left_out - messages.length);
    }
    if (slices.over) await slices.next();
  }
}

/** Returns the calls with the latest lines, as many as are asked for and allowed; the latest call last. */
async function partsOf(deps: PastDeps, asked: AskedLogs, signal: AbortSignal): Promise<readonly Part[]> {
  const slices = new Slices();
  const parts: Part[] = [];
  let lines = Math.min(asked.lines ?? Infinity, PAST.lines);
  let characters: number = PAST.characters;
  for await (const call of callsOf(deps, asked)) {
    if (signal.aborted) break;
    const lengths: number[] = [];
    for await (const messages of messagesOf(deps, asked, call)) {
      for (const { text } of messages) lengths.push(text.length);
      if (slices.over) await slices.next();
    }
    let left_out = lengths.length;
    for (; left_out > 0 && lines > 0; left_out--, lines--) {
      const length = lengths[left_out - 1] ?? 0;
      if (length > characters) break;
      characters -= length;
    }
    if (left_out < lengths.length) parts.push({ ...call, left_out });
    if (left_out > 0 || lines === 0) break;
  }
  return parts.toReversed();
}

/** Returns the calls of a function whose output is asked for, the latest one first. */
async function* callsOf({ invocations }: PastDeps, { function_id, since, instance }: AskedLogs): AsyncGenerator<Call> {
  if (instance !== undefined) {
    const { id, created_at, ...one } = await invocations.get(instance);
    if (one.function_id === function_id) yield { id, created_at };
    return;
  }
  let left: number = since === undefined ? PAST_CALLS.usual : PAST_CALLS.most;
  let cursor: string | undefined;
  do {
    const limit = Math.min(PAGE.max, left);
    const page = await invocations.list({ function_id, limit, ...(since && { since }), ...(cursor && { cursor }) });
    for (const { id, created_at } of page.invocations) yield { id, created_at };
    left -= page.invocations.length;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && left > 0);
}

/** Returns what a call has printed in the time that is asked for, a piece of output after the other. */
async function* messagesOf(
  { invocations, clock }: PastDeps,
  { name, since }: AskedLogs,
  { id, created_at }: Call,
): AsyncGenerator<readonly LogMessage[]> {
  const began = Date.parse(created_at) || clock.now();
  const lines = new CallLines(name, id);
  const wanted = (messages: readonly LogMessage[]) =>
    since === undefined ? messages : messages.filter(({ timestamp }) => timestamp >= since);
  for (const entry of await entriesOf(invocations, id)) yield wanted(lines.take([entry], began));
  yield wanted(lines.end());
}

/** A call whose record was removed meanwhile has printed nothing. */
async function entriesOf(invocations: PastDeps["invocations"], id: string): Promise<readonly LogEntry[]> {
  try {
    return (await invocations.logs(id)).entries;
  } catch (error) {
    if (error instanceof AppError && error.reason === "not_found") return [];
    throw error;
  }
}

/** Returns a line as it is sent. */
export function lineOf(message: LogMessage): string {
  return `${JSON.stringify(message)}\n`;
}

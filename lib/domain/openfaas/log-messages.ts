import type { LogEntry } from "../calls/invocations.ts";
import { timestamp } from "../types.ts";
import { NAMESPACE } from "./deployment.ts";

/** A line that a function has printed, as OpenFaaS's clients read it. */
export interface LogMessage {
  readonly name: string;
  readonly namespace: string;
  /** The id of the invocation. */
  readonly instance: string;
  readonly timestamp: string;
  /** The line, without its end. */
  readonly text: string;
}

/** The longest part of a line that waits for the rest, in characters. */
const LINE_CHARACTERS = 64 * 1024;

type Stream = LogEntry["stream"];

interface Begun {
  readonly text: string;
  readonly time: string;
}

/** Makes lines of what a call prints, which comes in pieces of any size. */
export class CallLines {
  readonly #name: string;
  readonly #instance: string;
  /** The beginnings of lines that have no end yet. */
  readonly #begun = new Map<Stream, Begun>();

  constructor(name: string, invocationId: string) {
    this.#name = name;
    this.#instance = invocationId;
  }

  /** Returns the lines that end in these pieces. Those without a time were printed at `now`. */
  take(entries: readonly LogEntry[], now: number): LogMessage[] {
    const messages: LogMessage[] = [];
    for (const { stream, text, time = timestamp(now) } of entries) {
      const begun = this.#begun.get(stream) ?? { text: "", time };
      const [first = "", ...others] = text.split("\n");
      const lines = [begun.text + first, ...others];
      const last = lines.pop() ?? "";
      lines.forEach((line, index) => messages.push(this.#message(line, index === 0 ? begun.time : time)));
      const rest = { text: last, time: lines.length === 0 ? begun.time : time };
      if (last.length > LINE_CHARACTERS) messages.push(this.#message(last, rest.time));
      if (last === "" || last.length > LINE_CHARACTERS) this.#begun.delete(stream);
      else this.#begun.set(stream, rest);
    }
    return messages;
  }

  /** True if there is the beginning of a line that has no end yet. */
  get has_begun(): boolean {
    return this.#begun.size > 0;
  }

  /** Returns the lines that had no end. */
  end(): LogMessage[] {
    const messages = [...this.#begun.values()].map(({ text, time }) => this.#message(text, time));
    this.#begun.clear();
    return messages;
  }

  #message(text: string, time: string): LogMessage {
    const line = text.endsWith("\r") ? text.slice(0, -1) : text;
    return { name: this.#name, namespace: NAMESPACE, instance: this.#instance, timestamp: time, text: line };
  }
}

/** Returns the line that says how much of the output of very many calls at once was left out. */
export function leftOut(name: string, count: number, now: number): LogMessage {
  const text = `(${count} pieces of output are left out here: GET /v1/invocations/ID/logs has all of a call)`;
  return { name, namespace: NAMESPACE, instance: "", timestamp: timestamp(now), text };
}

import type { Clock } from "../../clock.ts";
import { OutputPosition } from "../../domain/calls/output-position.ts";
import { TaskGroup } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { Logger } from "../../log.ts";
import type { WrittenElsewhere } from "../../store/history.ts";
import type { InvocationEvents } from "../calls/events.ts";
import { signHop } from "./hop-signature.ts";
import type { Members } from "./members.ts";
import { DIRECT, isPeer, type Peer } from "./peers.ts";
import { LINE_CHARACTERS, OUTPUT_PATH, readSignedLine } from "./shared-output.ts";

/** The time after which a server whose output could not be read is asked again, in milliseconds. */
const REST_MS = 10_000;
/** The time after which a server that sends nothing is given up, in milliseconds: it sends something every 5 s. */
const SILENT_MS = 15_000;

interface RemoteOutputDeps {
  readonly events: Pick<InvocationEvents, "loggedElsewhere" | "forgetElsewhere">;
  readonly members: Pick<Members, "others">;
  /** Returns whether an attempt at an invocation is made here. */
  readonly isHere: (invocationId: string) => boolean;
  readonly key: Uint8Array;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The output of an attempt at an invocation, as it is read. */
interface Reading {
  readonly invocation: Invocation;
  readonly holder: string;
  readonly abort: AbortController;
  isOpen: boolean;
  /** The monotonic time from which it may be tried again. */
  againAt: number;
  /** The position behind what was passed on. */
  position: string | null;
}

/**
 * Reads what invocations that are followed here print on the servers that run them, for as long as they do. Without it, output is
 * read at the end of an attempt: so nothing depends on it.
 */
export class RemoteOutput implements AsyncDisposable {
  readonly #deps: RemoteOutputDeps;
  readonly #readings = new Map<string, Reading>();
  readonly #tasks = new TaskGroup();

  constructor(deps: RemoteOutputDeps) {
    this.#deps = deps;
  }

  /** Begins to read the output of an invocation that another server runs, and ends it once that attempt is over. */
  look({ invocation, holder }: WrittenElsewhere): void {
    const { id, attempts, status } = invocation;
    const known = this.#readings.get(id);
    const isSame = known?.invocation.attempts === attempts && known.holder === holder && status === "running";
    if (known !== undefined && !isSame) this.#end(id, known);
    if (status !== "running") return;
    const fresh = {
      invocation,
      holder,
      abort: new AbortController(),
      isOpen: false,
      againAt: -Infinity,
      position: null,
    };
    const reading: Reading = isSame ? known : fresh;
    const peer = this.#peer(holder);
    if (peer === undefined || reading.isOpen || this.#deps.clock.monotonic() < reading.againAt) return;
    this.#readings.set(id, reading);
    void this.#tasks.add(this.#read(reading, peer));
  }

  /** Ends the reading of all invocations but these. */
  keep(followed: readonly string[]): void {
    if (this.#readings.size === 0) return;
    const kept = new Set(followed);
    for (const [id, reading] of this.#readings) if (!kept.has(id)) this.#end(id, reading);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.keep([]);
    await this.#tasks.settled();
  }

  #end(id: string, { abort }: Reading): void {
    abort.abort();
    this.#readings.delete(id);
    this.#deps.events.forgetElsewhere(id);
  }

  #peer(holder: string): Peer | undefined {
    const { members, version } = this.#deps;
    return members.others.filter(isPeer).find((one) => one.id === holder && one.version === version);
  }

  /** Never rejects. */
  async #read(reading: Reading, peer: Peer): Promise<void> {
    const { clock, log, events, isHere } = this.#deps;
    const { invocation, abort } = reading;
    const { id, attempts } = invocation;
    const position = new OutputPosition(reading.position);
    position.begin(attempts);
    // Only this try: another one may follow.
    const stop = new AbortController();
    const signal = AbortSignal.any([abort.signal, stop.signal]);
    let cancelTimer = clock.after(SILENT_MS, () => stop.abort());
    reading.isOpen = true;
    try {
      for await (const entries of this.#entries(id, peer, signal)) {
        cancelTimer();
        cancelTimer = clock.after(SILENT_MS, () => stop.abort());
        // Output that was on its way when the next attempt began is not that attempt's.
        if (signal.aborted || isHere(id)) return;
        const rest = position.take(entries);
        reading.position = position.id;
        events.loggedElsewhere(invocation, rest);
      }
    } catch (error) {
      if (!abort.signal.aborted)
        log.debug("cannot read what a function prints on another server", {
          request_id: id,
          server: peer.id,
          problem: messageOf(error),
        });
    } finally {
      cancelTimer();
      stop.abort();
      reading.isOpen = false;
      reading.againAt = clock.monotonic() + REST_MS;
    }
  }

  /** Returns what the server sends, line by line; an empty line says that it is still there. */
  async *#entries(id: string, peer: Peer, signal: AbortSignal): AsyncGenerator<readonly LogEntry[]> {
    const { key, clock } = this.#deps;
    const body = Buffer.from(id);
    const { headers, seal } = signHop(key, peer, body, clock.now(), OUTPUT_PATH);
    const response = await fetch(`${peer.url}${OUTPUT_PATH}`, {
      method: "POST",
      body,
      headers: { ...headers, "Content-Type": "application/octet-stream" },
      signal,
      // It lasts as long as the attempt.
      timeout: false,
      ...DIRECT,
    } satisfies BunFetchRequestInit);
    if (response.status !== 200 || response.body === null) throw new Error(`it answers ${response.status}`);
    let text = "";
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (text + piece).split("\n");
      text = lines.pop() ?? "";
      if (text.length > LINE_CHARACTERS) throw new Error("it sends a line that is too long");
      for (const line of lines) yield line === "" ? [] : readSignedLine(line, seal);
    }
  }
}

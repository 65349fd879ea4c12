import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { buildGate } from "../../../.ci/build-gate.ts";
import { type CallRequest, GateConversation } from "../../../lib/runner/gate-protocol/conversation.ts";
import type { ExitFrame, GateExtras, GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";

await buildGate();

/** The gate for this machine, as a file to run. */
export const GATE = `${import.meta.dir}/../../../lib/gate/bin/gate-${process.arch === "arm64" ? "arm64" : "x64"}`;

/** A directory for one test; removed with `await using`. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

export function scratch(): Promise<Scratch> {
  return scratchIn(tmpdir());
}

export async function scratchIn(parent: string): Promise<Scratch> {
  const path = await mkdtemp(`${parent}/slipway-gate-`);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface GateOptions {
  /** A command that starts the gate: unshare, setpriv, a shell. */
  readonly prefix?: readonly string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Replaces bin/gate-* if the prefix changes the root directory. */
  readonly gate?: string;
}

/** The options of a call, besides the command; the defaults are generous. */
export interface CallOptions extends GateOptions, Partial<CallRequest>, Partial<GateExtras> {
  readonly body?: string | Uint8Array;
  /** True if the gate is not told when the body will end. */
  readonly openBody?: boolean;
  /** True if it gets no credit for more output than that which it has from the beginning. */
  readonly noCredit?: boolean;
}

/** A gate as a plain process with pipes, and the server's side of the conversation. */
export class GateProcess implements AsyncDisposable {
  readonly conversation = new GateConversation();
  /** The number of chunks in which its output has arrived. */
  chunks = 0;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #frames: AsyncGenerator<GateFrame, void, void>;
  #noCredit = false;
  /** True if the end of a body without a length is still to be sent. */
  #mustEndBody = false;

  constructor(command: readonly string[], { prefix = [], env, cwd, gate = GATE }: GateOptions = {}) {
    this.#child = Bun.spawn([...prefix, gate, ...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#frames = this.#read();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves to the gate's exit code, or to 128 and the signal's number. */
  get exited(): Promise<number> {
    return this.#child.exited;
  }

  async *#read(): AsyncGenerator<GateFrame, void, void> {
    for await (const chunk of this.#child.stdout) {
      this.chunks++;
      for (const frame of this.conversation.push(chunk)) {
        if (frame.type === "data" && !this.#noCredit) await this.taken(frame.bytes.length);
        if (this.conversation.owes) await this.send(...this.conversation.rest());
        await this.#endBody();
        yield frame;
      }
    }
  }

  /** Returns the next frame, or undefined at the end of the gate's output. */
  async next(): Promise<GateFrame | undefined> {
    return (await this.#frames.next()).value ?? undefined;
  }

  /** Returns the next frame, which must be of that type. */
  async expect<T extends GateFrame["type"]>(type: T): Promise<Extract<GateFrame, { type: T }>> {
    const frame = await this.next();
    if (frame?.type !== type) throw new Error(`Expected ${type}, got ${Bun.inspect(frame)}`);
    // The line above has checked the discriminant, which a generic does not narrow.
    return frame as Extract<GateFrame, { type: T }>;
  }

  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      await this.#child.stdin.write(piece);
      await this.#child.stdin.flush();
    }
  }

  /** Tells the gate that so many bytes of the output were passed on. */
  async taken(bytes: number): Promise<void> {
    const credit = this.conversation.consumed(bytes);
    if (credit !== undefined) await this.send(credit);
  }

  /** Sends a request; the gate must be ready. */
  async call(contextRoot: string, { body = "", openBody = false, ...options }: CallOptions = {}): Promise<void> {
    this.#noCredit = options.noCredit ?? false;
    this.#mustEndBody = false;
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const { environment = {}, defaults = {}, files = [] } = options;
    const request = requestIn(contextRoot, options);
    const extras = { environment, defaults, files };
    for (const piece of this.conversation.call(request, openBody ? undefined : bytes, extras)) await this.send(piece);
    if (!openBody) return;
    await this.send(...this.conversation.add(bytes));
    this.#mustEndBody = true;
    await this.#endBody();
  }

  async #endBody(): Promise<void> {
    if (!this.#mustEndBody || !this.conversation.wantsMore) return;
    this.#mustEndBody = false;
    await this.send(...this.conversation.add(undefined));
  }

  /** Makes a call that another one may follow, up to the end of its answer; the gate must be ready. */
  async serve(contextRoot: string, options: CallOptions = {}): Promise<Told> {
    await this.call(contextRoot, { id: crypto.randomUUID(), again: true, ...options });
    const frames: GateFrame[] = [];
    while (!this.conversation.answered) {
      const frame = await this.next();
      if (frame === undefined) throw new Error("The gate's output ended before the answer");
      frames.push(frame);
    }
    return toldBy(this.conversation, frames);
  }

  async hangUp(): Promise<void> {
    await this.#child.stdin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
    await this.exited;
  }
}

/** A request with generous limits. */
export function requestIn(contextRoot: string, options: CallOptions = {}): CallRequest {
  const { id = "the-id", timeoutMs = 30_000, graceMs = 1_000, responseLimit = 16 << 20, logLimit = 16 << 20 } = options;
  const { again = false, bodyFile = false, streamed = false } = options;
  const root = options.contextRoot ?? contextRoot;
  const within = options.withinMs === undefined ? {} : { withinMs: options.withinMs };
  return { id, contextRoot: root, timeoutMs, graceMs, responseLimit, logLimit, again, bodyFile, streamed, ...within };
}

/** Everything that a gate has reported about a call. */
export interface Told {
  readonly frames: readonly GateFrame[];
  readonly exit: ExitFrame | undefined;
  readonly failed: Extract<GateFrame, { type: "failed" }> | undefined;
  readonly expired: boolean;
  readonly stdout: string;
  readonly stderr: string;
  readonly response: Uint8Array;
  readonly meta: Uint8Array;
}

/** The last call of a gate, after its exit. */
export interface Outcome extends Told {
  /** The gate's own exit code. */
  readonly code: number;
}

/** Runs a command through a gate, from READY to the gate's exit, with a context below `root`. */
export async function callGate(root: string, command: readonly string[], options: CallOptions = {}): Promise<Outcome> {
  await using gate = new GateProcess(command, options);
  await gate.expect("ready");
  await gate.call(root, options);
  return await outcome(gate); // awaited here: the gate must not be disposed of earlier
}

/** Reads the rest of a call that has been sent. */
export async function outcome(gate: GateProcess): Promise<Outcome> {
  const frames: GateFrame[] = [];
  for (let frame = await gate.next(); frame; frame = await gate.next()) {
    frames.push(frame);
    // It may still wait for the rest of the body.
    if (frame.type === "failed" || (frame.type === "exit" && gate.conversation.owes)) await gate.hangUp();
  }
  return outcomeOf(gate.conversation, frames, await gate.exited);
}

/** Makes an Outcome of a conversation that is over. */
export function outcomeOf(conversation: GateConversation, frames: readonly GateFrame[], code: number): Outcome {
  conversation.end();
  return { ...toldBy(conversation, frames), code };
}

function toldBy(conversation: GateConversation, frames: readonly GateFrame[]): Told {
  const printed = (stream: string) =>
    Buffer.concat(
      frames.flatMap((frame) => (frame.type === "log" && frame.stream === stream ? [frame.bytes] : [])),
    ).toString();
  return {
    frames,
    exit: frames.find((frame) => frame.type === "exit"),
    failed: frames.find((frame) => frame.type === "failed"),
    expired: conversation.expired,
    stdout: printed("stdout"),
    stderr: printed("stderr"),
    response: printedAnswer(frames) ?? conversation.response,
    meta: conversation.meta,
  };
}

/** Returns the output of a streamed call that has ended; undefined if it was none. */
function printedAnswer(frames: readonly GateFrame[]): Uint8Array | undefined {
  const pieces = frames.flatMap((frame) => (frame.type === "data" ? [frame.bytes] : []));
  return pieces.length === 0 ? undefined : Buffer.concat(pieces);
}

/** A FIFO that functions open with `exec 9>PATH`, so that a test knows when all of them are gone. */
export interface Witness {
  readonly path: string;
  /** Resolves when the function has written something to it. */
  readonly up: Promise<unknown>;
  /** Resolves when every process that had it open is gone. */
  readonly gone: Promise<unknown>;
}

export async function witness(directory: string): Promise<Witness> {
  const path = `${directory}/witness`;
  await Bun.$`mkfifo -m 666 ${path}`.quiet();
  const { stdout } = Bun.spawn(["cat", path], { stdout: "pipe", stderr: "inherit" });
  const reader = stdout.getReader();
  const up = reader.read();
  const gone = (async () => {
    while (!(await reader.read()).done);
  })();
  return { path, up, gone };
}

/** A shell script as a command. */
export function sh(script: string): string[] {
  return ["/bin/sh", "-c", script];
}

import { closeSync, openSync, readSync } from "node:fs";
import { GateConversation } from "../../../lib/runner/gate-protocol/conversation.ts";
import { GATE, outcomeOf, requestIn, scratch, sh, witness, type CallOptions, type Outcome } from "./gate-process.ts";

/** A gate that has been called and whose output nobody reads. It fills the 64 KiB of a FIFO, and no more. */
export class StalledGate implements AsyncDisposable {
  /** Resolves when the function and everything that it started are gone. */
  readonly gone: Promise<unknown>;
  readonly #conversation = new GateConversation();
  readonly #child: Bun.Subprocess<"pipe", number, "inherit">;
  readonly #directory: AsyncDisposable;
  readonly #path: string;
  #output: number | undefined;

  private constructor(directory: AsyncDisposable, path: string, script: string, gone: Promise<unknown>) {
    this.#directory = directory;
    this.#path = path;
    this.gone = gone;
    // For reading and writing, so that opening does not wait for the other side.
    this.#output = openSync(path, "r+");
    const stdout = openSync(path, "w");
    this.#child = Bun.spawn([GATE, ...sh(script)], { stdin: "pipe", stdout, stderr: "inherit" });
    closeSync(stdout);
  }

  /** Returns when the script has run `echo up >&9`. */
  static async start(script: string, options: CallOptions = {}): Promise<StalledGate> {
    const directory = await scratch();
    const { path, up, gone } = await witness(directory.path);
    await Bun.$`mkfifo ${directory.path}/output`.quiet();
    const gate = new StalledGate(directory, `${directory.path}/output`, `exec 9>${path}; ${script}`, gone);
    gate.#takeReady();
    for (const piece of gate.#conversation.call(requestIn(directory.path, options), Buffer.alloc(0))) {
      await gate.#child.stdin.write(piece);
    }
    await gate.#child.stdin.flush();
    await up;
    return gate;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  async hangUp(): Promise<void> {
    await this.#child.stdin.end();
  }

  /** Closes the only reader. */
  closeOutput(): void {
    if (this.#output !== undefined) closeSync(this.#output);
    this.#output = undefined;
  }

  /** Reads what the gate has written and will write. */
  async read(): Promise<Outcome> {
    const stdin = openSync(this.#path, "r");
    this.closeOutput();
    const cat = Bun.spawn(["cat"], { stdin, stdout: "pipe", stderr: "inherit" });
    closeSync(stdin);
    const frames = [];
    for await (const chunk of cat.stdout) frames.push(...this.#conversation.push(chunk));
    return outcomeOf(this.#conversation, frames, await this.exited);
  }

  #takeReady(): void {
    const ready = Buffer.alloc(15); // the header, and version, uid, gid and surroundings
    for (let at = 0; at < ready.length;) at += readSync(this.#output ?? -1, ready, at, ready.length - at, null);
    for (const frame of this.#conversation.push(ready)) if (frame.type !== "ready") throw new Error(frame.type);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
    await this.exited;
    this.closeOutput();
    await this.#directory[Symbol.asyncDispose]();
  }
}

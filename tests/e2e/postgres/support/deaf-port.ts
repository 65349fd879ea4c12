import { connect, type Socket } from "node:net";
import { requireProgram } from "../../../../.ci/packages.ts";

/** A program that listens and never takes a connection; it prints its port. */
const LISTEN = `
use Socket;
socket(S, PF_INET, SOCK_STREAM, 0) or die; bind(S, sockaddr_in(0, INADDR_LOOPBACK)) or die; listen(S, 0) or die;
$| = 1; print((sockaddr_in(getsockname(S)))[0], "\\n"); sleep`;

/** More connections than the kernel makes for a program that takes none. */
const FULL = 4;

/** A port that lets nobody know whether there is anything behind it, as a machine that has vanished. */
export class DeafPort implements AsyncDisposable {
  readonly number: number;
  readonly #child: Bun.Subprocess;
  readonly #sockets: Socket[];

  private constructor(number: number, child: Bun.Subprocess) {
    this.number = number;
    this.#child = child;
    this.#sockets = Array.from({ length: FULL }, () => connect(number, "127.0.0.1").on("error", () => undefined));
  }

  static async start(): Promise<DeafPort> {
    const command = [requireProgram("setpriv"), "--pdeathsig", "KILL", requireProgram("perl"), "-e", LISTEN];
    const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    const { value } = await child.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
    const port = new DeafPort(Number(value), child);
    const [first] = port.#sockets;
    await new Promise<void>((resolve) => void first?.once("connect", () => resolve()));
    return port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

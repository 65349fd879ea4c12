import type { Socket } from "bun";

/** A run of a function as the function itself reported it; times are in microseconds of the machine's clock. */
export interface DiaryRun {
  readonly invocation_id: string;
  readonly tag: number;
  readonly began: number;
  /** The time of its last report. */
  last: number;
  /** True if it ended by itself. */
  ended: boolean;
}

interface Page {
  rest: string;
  run?: DiaryRun;
}

/** The line that asks a run to end now; not all functions listen for it. */
export const END = "end";

/**
 * Records the reports of functions: begin, still running, end (`diary` of the chaos image). It is outside of the containers
 * and the server, so it knows what really ran, whatever died.
 */
export class Diary implements Disposable {
  readonly runs: DiaryRun[] = [];
  readonly #counts = new Map<string, number>();
  readonly #writers = new Map<string, Socket<Page>>();
  readonly #listener: Bun.TCPSocketListener<Page>;

  constructor() {
    this.#listener = Bun.listen<Page>({
      hostname: "0.0.0.0",
      port: 0,
      socket: {
        open: (socket) => void (socket.data = { rest: "" }),
        data: (socket, bytes) => this.#read(socket, bytes),
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** The runs of each invocation, in the order of their starts. */
  byInvocation(): ReadonlyMap<string, readonly DiaryRun[]> {
    return Map.groupBy(
      this.runs.toSorted((a, b) => a.began - b.began),
      ({ invocation_id }) => invocation_id,
    );
  }

  /** Asks the last run of an invocation to end. */
  askToEnd(invocation_id: string): void {
    this.#writers.get(invocation_id)?.write(`${END}\n`);
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
  }

  #read(socket: Socket<Page>, bytes: Uint8Array): void {
    const lines = (socket.data.rest + Buffer.from(bytes).toString()).split("\n");
    socket.data.rest = lines.pop() ?? "";
    for (const line of lines) this.#take(socket, line.split(" "));
  }

  #take(socket: Socket<Page>, [word = "", ...values]: readonly string[]): void {
    if (word === "begin") {
      const [invocation_id = "", tag, now] = values;
      const run: DiaryRun = { invocation_id, tag: Number(tag), began: Number(now), last: Number(now), ended: false };
      this.runs.push(run);
      socket.data.run = run;
      this.#writers.set(invocation_id, socket);
      const number = (this.#counts.get(invocation_id) ?? 0) + 1;
      this.#counts.set(invocation_id, number);
      socket.write(`${number}\n`);
      return;
    }
    const { run } = socket.data;
    if (run === undefined) throw new Error(`The diary heard ${JSON.stringify(word)} before a beginning`);
    run.last = Number(values[0]);
    if (word !== "end") return;
    run.ended = true;
    socket.end();
  }
}

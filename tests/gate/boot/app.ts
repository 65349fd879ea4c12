/**
 * An app for the tests of a gate that boots: `bun app.ts MODE PORT [ADDRESS]`. It listens at the port, says `up` on its
 * stderr and does to its connections what the mode says. A line `pid N` on its stdout says which process does.
 */
import { fork } from "node:child_process";
import { writeSync } from "node:fs";
import { createServer, type Socket } from "node:net";

const [mode = "echo", port = "0", address = "127.0.0.1"] = process.argv.slice(2);

/** The modes, by name: what each does to a connection. */
const MODES: Readonly<Record<string, (socket: Socket) => void>> = {
  /** Sends back what it gets. */
  echo: (socket) => socket.pipe(socket),
  /** Reads nothing for as long as it is connected. */
  deaf: (socket) => socket.pause(),
  /** Sends as much as the first line asks for, in bytes, and ends its side. */
  pour: (socket) => socket.once("data", (asked) => void pour(socket, Number(asked.toString()))),
  /** Counts what it gets until a newline, and answers with the number. */
  count: (socket) => {
    let bytes = 0;
    socket.on("data", (data) => {
      bytes += data.length;
      if (data.includes(10)) socket.write(`${bytes}\n`);
    });
  },
  /** Answers at the first byte and closes the connection, with what it has not read left in it. */
  refuse: (socket) => {
    socket.once("data", () => {
      socket.pause();
      socket.end("413", () => socket.destroy());
    });
  },
  /** Resets the connection at the first byte. */
  reset: (socket) => socket.once("data", () => socket.resetAndDestroy()),
  /** Resets the connection before the first byte. */
  rebuff: (socket) => socket.resetAndDestroy(),
  /** Answers at the first byte, and ends as a process. */
  die: (socket) => socket.once("data", () => socket.write("last words", () => process.exit(7))),
  /** Prints the first bytes as a log, and closes the connection. */
  print: (socket) =>
    socket.once("data", (data) => {
      writeSync(1, data);
      socket.end();
    }),
  /** Answers at the first byte, and prints a line when it has done some work after that. */
  afterword: (socket) =>
    socket.once("data", () =>
      socket.end("answer", () => {
        for (const end = performance.now() + 20; performance.now() < end;);
        writeSync(1, "afterword\n");
      }),
    ),
  /** Answers with the number of its ticks. */
  tick: (socket) => socket.once("data", () => socket.end(String(ticks))),
  /** Answers each line with the number of its connection, and says on its stdout when one is over; it ends one that says so. */
  number: (socket) => {
    const number = ++connections;
    socket.on("close", () => writeSync(1, `closed ${number}\n`));
    socket.on("data", (data) => {
      socket.write(`${number}\n`);
      if (data.toString() === "end\n") socket.end(() => writeSync(1, `ended ${number}\n`));
    });
  },
  /** The same, but it serves a connection when the one before it is over. */
  single: (socket) => {
    const number = ++connections;
    const before = served;
    served = new Promise((over) => socket.on("close", over));
    void before.then(() => socket.on("data", () => socket.write(`${number}\n`)));
  },
  /** Stops listening, and keeps the connection. */
  withdraw: (socket) =>
    socket.once("data", () => {
      server.close();
      socket.write("closed");
    }),
};

async function pour(socket: Socket, bytes: number): Promise<void> {
  const piece = Buffer.alloc(65_536, "x");
  for (let left = bytes; left > 0; left -= piece.length) {
    if (!socket.write(piece.subarray(0, left))) await new Promise((resume) => socket.once("drain", resume));
  }
  socket.end();
}

let connections = 0;
let served: Promise<unknown> = Promise.resolve();
let ticks = 0;
if (mode === "tick") setInterval(() => ticks++, 5);
if (process.argv.includes("--stubborn")) process.on("SIGTERM", () => writeSync(1, "no\n"));
if (process.argv.includes("--gentle")) {
  process.on("SIGTERM", () => {
    writeSync(1, "bye\n");
    process.exit(0);
  });
}

const server = createServer((socket) => {
  socket.on("error", () => undefined);
  MODES[mode]?.(socket);
});

if (process.argv.includes("--master")) {
  // As gunicorn: the master listens for nobody, its worker does.
  const worker = fork(import.meta.path, [mode, port, address]);
  worker.on("exit", (code) => process.exit(code ?? 1));
} else {
  server.listen({ port: Number(port), host: address, ipv6Only: address === "::1" }, () => writeSync(2, "up\n"));
}

import { expect, test } from "bun:test";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureProgram } from "../../../.ci/packages.ts";
import { RawClient } from "../../http/support/raw-client.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { residentBytes } from "./resident-bytes.ts";

/** `STALLS=full` is the long run of `lib/docs/contributing.md`. */
const FULL = process.env["STALLS"] === "full";
/** The time for which a reader rests. */
const STALL_MS = FULL ? 20_000 : 0;

const MIB = 1024 * 1024;
/** The bytes that go each way. */
const SIZE = (FULL ? 200 : 50) * MIB;
/** A part of what goes to the app: no request may be longer than 64 MiB. */
const UPLOAD = 50 * MIB;
/** The most that the server may grow by while all of it passes. */
const GROWTH = 32 * MIB;
/** The bytes that Bun reads ahead of each request. */
const READ_AHEAD = 3 * MIB;

/**
 * A server that sends as much as it is asked for while its reader takes it, and reads bodies when another request tells it to. It
 * says how much it has sent and read in all.
 */
const APP = `
const net = require("node:net");
let sent = 0;
let read = 0;
let waiting = [];
// Else a connection that is just being closed may be taken for the next request.
const HEAD = "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n";
const answer = (socket, body) => socket.end(HEAD + "Content-Length: " + body.length + "\\r\\n\\r\\n" + body);
const piece = Buffer.alloc(65_536, "x");
net.createServer((socket) => {
  socket.on("error", () => {});
  let head = "";
  socket.on("data", function begin(data) {
    head += data.toString("latin1");
    const end = head.indexOf("\\r\\n\\r\\n");
    if (end === -1) return;
    socket.off("data", begin);
    const [method, url] = head.split(" ");
    const length = Number(new URL(url, "http://x").searchParams.get("bytes"));
    if (url.startsWith("/state")) return answer(socket, JSON.stringify({ sent, read }));
    if (url.startsWith("/go")) { for (const begin of waiting.splice(0)) begin(); return answer(socket, "{}"); }
    if (method === "GET") {
      socket.write(HEAD + "Content-Length: " + length + "\\r\\n\\r\\n");
      let left = length;
      const more = () => {
        while (left > 0) { left -= piece.length; sent += piece.length; if (!socket.write(piece)) return socket.once("drain", more); }
        socket.end();
      };
      return more();
    }
    socket.pause();
    let got = 0;
    const count = (data) => { got += data.length; read += data.length; if (got === length) answer(socket, String(got)); };
    waiting.push(() => { count(data.subarray(data.length - (head.length - end - 4))); socket.on("data", count); socket.resume(); });
  });
}).listen(Number(process.env.PORT));
`;

/** Starts a server with the app. */
async function startWithApp(): Promise<SpawnedServer> {
  const server = await SpawnedServer.start({ MAX_REQUEST_BYTES: String(UPLOAD), WARM_MAX: "1" });
  const settings = { network: "none", max_calls: 0, concurrency: 16, warm_max: 1, timeout_ms: 120_000 } as const;
  const command = ["bun", "-e", APP];
  const fn = await server.createFunction(await fixture("bun"), { contract: "http", command, ...settings });
  const route = { path: "/s/*", function_id: fn.id };
  expect((await fetch(`${server.url}/v1/routes`, { method: "POST", body: JSON.stringify(route) })).status).toBe(200);
  return server;
}

/** Makes the first streams each way: what they load and grow is what any stream needs. */
async function warmUp(server: SpawnedServer, body: string): Promise<void> {
  const url = `${server.url}/r/s/down?bytes=${UPLOAD}`;
  // A busy engine may be slow to answer at first.
  const down = async () => (await (await fetch(url)).arrayBuffer()).byteLength === UPLOAD;
  expect(await eventually(down, 30_000)).toBe(true);
  await readAll(server, [upload(server, body)]);
}

async function state(server: SpawnedServer): Promise<{ sent: number; read: number }> {
  const answer = await fetch(`${server.url}/r/s/state`);
  const text = await answer.text();
  expect([answer.status, text]).toEqual([200, expect.stringContaining("sent")]);
  return JSON.parse(text) as { sent: number; read: number }; // the app's answer
}

/** Sends a file, and returns the answer to it. */
async function upload(server: SpawnedServer, file: string): Promise<string> {
  const curl = await ensureProgram("curl", ["curl"]);
  const send = ["-X", "POST", "-T", file, "-H", "Expect:"];
  const child = Bun.spawn([curl, "-sS", ...send, `${server.url}/r/s/up?bytes=${UPLOAD}`], { stderr: "inherit" });
  return await new Response(child.stdout).text();
}

/** Has the app read these bodies. */
async function readAll(server: SpawnedServer, uploads: readonly Promise<string>[]): Promise<void> {
  const done = async () => {
    await (await fetch(`${server.url}/r/s/go`)).text();
    return uploads.every((one) => Bun.peek.status(one) !== "pending");
  };
  expect(await eventually(done, 30_000)).toBe(true);
  expect(await Promise.all(uploads)).toEqual(uploads.map(() => String(UPLOAD)));
}

/** Waits until a figure stays the same: nothing moves any more. */
async function untilStill(figure: () => number | Promise<number>): Promise<void> {
  let last = -1;
  const isStill = async () => {
    const now = await figure();
    await Bun.sleep(200);
    return now === last || ((last = now), false);
  };
  expect(await eventually(isStill)).toBe(true);
}

/** Watches how much a server grows. */
class Growth implements Disposable {
  readonly #server: SpawnedServer;
  readonly #before: number;
  readonly #timer: Timer;
  #most = 0;

  constructor(server: SpawnedServer) {
    this.#server = server;
    this.#before = residentBytes(server.pid);
    this.#timer = setInterval(() => this.most(), 5);
  }

  /** Returns the most so far, in bytes. */
  most(): number {
    return (this.#most = Math.max(this.#most, residentBytes(this.#server.pid) - this.#before));
  }

  /** Checks all of it, and shows it after a long run. */
  check(what: string, stalled: number, limit = GROWTH): void {
    const [rest, all] = [stalled, this.most()].map((bytes) => `${(bytes / MIB).toFixed(1)} MiB`);
    if (FULL) console.log(`${what}: the server had grown by ${rest} at the end of the stall, and by ${all} in all`);
    expect(this.most()).toBeLessThan(limit);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** A client that stalls in the middle of a download: the rest waits in the app. */
async function stallDownload(server: SpawnedServer): Promise<void> {
  const before = (await state(server)).sent;
  using growth = new Growth(server);
  using client = new RawClient(server.url);
  client.send(`GET /r/s/down?bytes=${SIZE} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await client.until("xxxx");
  client.pause();
  const sent = async () => (await state(server)).sent - before;
  await untilStill(sent);
  await Bun.sleep(STALL_MS);
  expect(await sent()).toBeLessThan(SIZE / 2);
  const stalled = growth.most();
  client.count();
  expect(await eventually(() => client.bytes > SIZE, 30_000)).toBe(true);
  growth.check("A download", stalled);
}

/** An app that does not read its bodies yet: they wait in their clients. */
async function stallUploads(server: SpawnedServer, body: string): Promise<void> {
  const before = (await state(server)).read;
  using growth = new Growth(server);
  const uploads = Array.from({ length: SIZE / UPLOAD }, () => upload(server, body));
  await untilStill(() => growth.most());
  await Bun.sleep(STALL_MS);
  const stalled = growth.most();
  await readAll(server, uploads);
  expect((await state(server)).read - before).toBe(SIZE);
  growth.check("Uploads", stalled, GROWTH + uploads.length * READ_AHEAD);
}

test("a client that stalls in a download and an app that stalls in uploads: the rest waits where it comes from, and the server hardly grows", async () => {
  const directory = await mkdtemp(join(tmpdir(), "slipway-stalls-"));
  try {
    const body = join(directory, "body");
    await writeFile(body, "");
    await truncate(body, UPLOAD);
    await using server = await startWithApp();
    await warmUp(server, body);
    await stallDownload(server);
    await stallUploads(server, body);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}, 240_000);

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../lib/clock.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { EngineEvents } from "../../../lib/docker/api/events.ts";
import { Images } from "../../../lib/docker/api/images.ts";
import { createLogger } from "../../../lib/log.ts";
import { Metrics } from "../../../lib/metrics.ts";

// Recorded answers of podman 4.3 that differ from Docker's: the real engine of the tests is Docker.

let directory: string;
let server: Server;
let connection: EngineConnection;
/** All bytes that it received. */
let received: string;
/** Answers everything but a ping. */
let reply: (head: string, socket: Socket) => void;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-podman-"));
  received = "";
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      if (text.includes("/_ping")) return socket.end(http("OK", "Api-Version: 1.41\r\n"));
      received += text;
      return reply(text, socket);
    });
  });
  const socketPath = join(directory, "podman.sock");
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(socketPath, resolve);
  await promise;
  connection = new EngineConnection({
    address: { socketPath },
    timeout_ms: 5_000,
    clock: systemClock,
    metrics: new Metrics(),
  });
});

afterEach(async () => {
  connection[Symbol.dispose]();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

function http(body: string, headers = ""): string {
  return `HTTP/1.1 200 OK\r\n${headers}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

test("EngineConnection attaches without a body, which podman would pass on as the container's input", async () => {
  reply = (head, socket) => {
    if (head.includes("/attach")) socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    else socket.end();
  };
  const stream = await connection.attach("c");
  stream.write("first");
  while (!received.includes("first")) await new Promise((resolve) => setImmediate(resolve));
  stream.destroy();
  const [head = "", ...rest] = received.split("\r\n\r\n");
  expect(head).toMatch(/content-length: 0/i);
  expect(head).not.toMatch(/transfer-encoding/i);
  expect(rest).toEqual(["first"]);
});

test.each([
  [
    "manifest unknown",
    "initializing source docker://r/x:1: reading manifest 1 in r/x: manifest unknown",
    "image_not_found",
  ],
  [
    "no credentials",
    "initializing source docker://r/x:1: reading manifest 1: unauthorized: authentication required",
    "registry_denied",
  ],
  [
    "no such host",
    'pinging container registry r: Get "https://r/v2/": dial tcp: lookup r: no such host',
    "image_unavailable",
  ],
  [
    "a lost layer",
    "reading blob sha256:ff: Error fetching blob: invalid status code from registry 404 (Not Found)",
    "image_unavailable",
  ],
  [
    "a spoilt layer",
    'writing blob: storing blob to file "/var/tmp/storage20/1": Digest did not match',
    "image_unavailable",
  ],
])("Images.pull finds an error after a 200, and shows no path of the host: %s", async (_, error, reason) => {
  reply = (__, socket) => socket.end(http(`${JSON.stringify({ status: "Trying" })}\n${JSON.stringify({ error })}\n`));
  const thrown: unknown = await new Images({ connection, clock: systemClock, pull_timeout_ms: 5_000 })
    .pull("127.0.0.1:5000/x:1")
    .catch((caught: unknown) => caught);
  expect(thrown).toBeInstanceOf(AppError);
  expect(thrown).toMatchObject({ reason, message: expect.not.stringContaining("/var/") });
});

test("EngineEvents asks for podman's names too, and treats a removal as the end of the container", async () => {
  const streaming = Promise.withResolvers<Socket>();
  reply = (_, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
    streaming.resolve(socket);
  };
  const log = createLogger({ level: "error", format: "json", clock: systemClock, write: () => undefined });
  await using events = new EngineEvents({
    connection,
    owner: "o",
    clock: systemClock,
    log,
    onConnected: async () => undefined,
    onCreated: () => undefined,
  });
  events.start();
  const socket = await streaming.promise;
  await events.settled;
  expect(decodeURIComponent(received)).toContain('"died","destroy","remove"');
  const gone = events.containerEnd("c", "gone", 5_000);
  socket.write(`${JSON.stringify({ status: "die", Action: "die", Actor: { ID: "c" } })}\n`);
  socket.write(`${JSON.stringify({ status: "remove", Action: "remove", Actor: { ID: "c" } })}\n`);
  expect(await gone).toEqual({ died: true, gone: true, oom: false });
});

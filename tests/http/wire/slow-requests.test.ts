import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../lib/clock.ts";
import { readConfig, thisMachine } from "../../../lib/config/config.ts";
import { createLogger } from "../../../lib/log.ts";
import { start, type Server } from "../../../lib/server/server.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { parseReply } from "../support/raw-request.ts";
import { expectWithin } from "../../support/pace.ts";

/** Bun counts in steps of four seconds, and may be busy. */
const IDLE_MS = 10_000;
/** Bun always waits 10 s for the headers of a request. */
const HEADERS_MS = 18_000;
const BODY_MS = 6_000;

let directory: string;
let server: Server;
/** Resolves with the first line of the log that contains this text. */
let logged: (text: string) => Promise<string>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-slow-"));
  const { host } = await acquireEngine();
  const times = { KEEP_ALIVE_MS: "1s", STALL_TIMEOUT_MS: String(BODY_MS) };
  const variables = { PORT: "0", WARM_MAX: "0", DATA_PATH: directory, DOCKER_HOST: host, ...times };
  const config = readConfig({}, variables, thisMachine());
  const watched: { text: string; found: (line: string) => void }[] = [];
  logged = (text) => new Promise((found) => watched.push({ text, found }));
  const write = (line: string) => {
    for (const { text, found } of watched) if (line.includes(text)) found(line);
  };
  const log = createLogger({ level: "debug", format: "json", clock: systemClock, write });
  server = await start(config, { log });
  const body = JSON.stringify({ image: await fixture("static"), name: "slow" });
  await fetch(`${server.url}/v1/functions`, { method: "POST", body });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

function open(url = server.url): Socket {
  return connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
}

/** Returns the text that a connection received until it was closed, and the milliseconds that this took. */
async function slowly(first: string, piece?: string, url?: string): Promise<{ text: string; ms: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const began = performance.now();
  const socket = open(url);
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  socket.on("error", reject);
  socket.on("close", () => resolve());
  if (first !== "") socket.write(first);
  const drip = setInterval(() => piece !== undefined && socket.write(piece), 250);
  try {
    await promise;
  } finally {
    clearInterval(drip);
  }
  return { text, ms: performance.now() - began };
}

const post = (path: string, length: string) => `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n\r\n`;

describe("a slow connection", () => {
  test.concurrent.each<readonly [string, string, string | undefined]>([
    ["says nothing", "", undefined],
    ["stops in its headers", "GET /healthz HTTP/1.1\r\nHost: loc", undefined],
    ["drips a header", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", "x"],
    ["drips headers", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n", "X: x\r\n"],
  ])("is closed when it %s", async (_name, first, piece) => {
    const { text, ms } = await slowly(first, piece);
    expect(text).toBe("");
    await expectWithin(ms, HEADERS_MS);
  });

  test.concurrent.each<readonly [string, string]>([
    ["after a GET", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["after a POST with a body", `${post("/v1/routes", "Content-Length: 2")}{}`],
    ["after a call", `${post("/r/none", "Content-Length: 2")}{}`],
    ["after a refusal", post("/v1/routes", "Content-Length: 100000000")],
  ])("is closed when it is idle %s", async (_name, request) => {
    const { text, ms } = await slowly(request);
    expect(text).toStartWith("HTTP/1.1 ");
    await expectWithin(ms, IDLE_MS);
  });

  // D2
  const late = "did not arrive within 6 s: send it faster";
  const slow = "arrived at less than 1000 bytes a second: send it faster";
  const half = " ".repeat(40_000);
  test.concurrent.each<readonly [string, string, string | undefined, string]>([
    ["stops before its body", post("/v1/routes", "Content-Length: 100000"), undefined, late],
    ["stops in a short body", post("/v1/routes", "Content-Length: 100"), undefined, late],
    ["drips a short body", post("/v1/routes", "Content-Length: 100"), " ", late],
    ["drips a long body", post("/v1/routes", "Content-Length: 100000"), " ", slow],
    ["drips a body without a length", post("/v1/routes", "Transfer-Encoding: chunked"), "1\r\n \r\n", slow],
    [
      "stops in the middle of a long body",
      post("/v1/routes", "Content-Length: 100000") + half,
      undefined,
      "stopped arriving for 6 s: send it again, without such a pause",
    ],
  ])("gets a 408 when it %s", async (_name, first, piece, problem) => {
    const { text, ms } = await slowly(first, piece);
    const { status, headers, text: body } = parseReply(text);
    expect(status).toBe(408);
    expect(JSON.parse(body)).toEqual({
      success: false,
      message: `The request body ${problem}`,
      data: null,
      reason: "request_timeout",
      request_id: headers.get("x-request-id"),
    });
    expect(ms).toBeGreaterThan(BODY_MS - 1);
    await expectWithin(ms, BODY_MS + 2_000);
  });

  // D2
  test.concurrent.each<readonly [string, string, (piece: string) => string, string]>([
    ["with", "Content-Length: 90000", (piece) => piece, ""],
    ["without", "Transfer-Encoding: chunked", (piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`, "0\r\n\r\n"],
  ])(
    "is served when its body %s a length takes longer than the stall time, but keeps coming",
    async (_name, length, framed, last) => {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const socket = open();
      socket.on("data", (chunk: Buffer) => resolve(chunk.toString()));
      socket.on("close", () => reject(new Error("closed without an answer")));
      socket.write(post("/v1/routes", length));
      const began = performance.now();
      const pieces = 30;
      for (let sent = 0; sent < pieces; sent++) {
        socket.write(framed(" ".repeat(90_000 / pieces)));
        await Bun.sleep((BODY_MS * 1.5) / pieces);
      }
      socket.write(last);
      expect(await promise).toStartWith("HTTP/1.1 400 ");
      expect(performance.now() - began).toBeGreaterThan(BODY_MS);
      socket.destroy();
    },
  );

  // D3
  test.concurrent("stays open for KEEP_ALIVE_MS after an answer", async () => {
    await using patient = await TestServer.start({
      KEEP_ALIVE_MS: "14s",
      DOCKER_HOST: "unix:///nowhere/docker.sock",
    });
    const { ms } = await slowly("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", undefined, patient.url);
    expect(ms).toBeGreaterThan(14_000);
    await expectWithin(ms, 24_000);
  });

  test.concurrent("is served when its body takes longer than the idle timeout, but arrives in time", async () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = open();
    socket.on("data", (chunk: Buffer) => resolve(chunk.toString()));
    socket.on("close", () => reject(new Error("closed without an answer")));
    const body = JSON.stringify({ path: "no" });
    socket.write(post("/v1/routes", `Content-Length: ${body.length}`));
    const pieces = body.split("");
    const every = BODY_MS / 2 / pieces.length;
    const drip = setInterval(() => {
      const piece = pieces.shift();
      if (piece === undefined) clearInterval(drip);
      else socket.write(piece);
    }, every);
    expect(await promise).toStartWith("HTTP/1.1 400 ");
    socket.destroy();
  });
});

// Not at the same time as the others: they would wait for its container to be gone.
test("a call that takes longer than the idle timeout is answered", async () => {
  const response = await fetch(`${server.url}/v1/functions/slow/invoke`, {
    method: "POST",
    body: JSON.stringify({ do: "sleep", ms: 5_000 }),
  });
  expect(response.status).toBe(200);
});

test.each(["/v1/functions/slow/invoke", "/v1/routes"])(
  "a client that goes away in the middle of the body of POST %s is not an error of the server",
  async (path) => {
    const line = logged('"request refused"');
    const socket = open();
    const sent = Promise.withResolvers<void>();
    socket.write(`${post(path, "Content-Length: 100")}{`, () => sent.resolve());
    await sent.promise;
    // Once a later request is answered, the server has begun to read this one.
    await fetch(`${server.url}/healthz`);
    socket.destroy();
    expect(await line).toContain('"level":"debug"');
  },
);

test("5,000 idle connections do not slow /healthz", async () => {
  const sockets = Array.from({ length: Math.min(5_000, freeDescriptors()) }, () => open());
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on("connect", resolve))));
  const times: number[] = [];
  for (let call = 0; call < 20; call++) {
    const began = performance.now();
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    times.push(performance.now() - began);
  }
  // A pause of the machine makes one late; all are if connections slow them.
  await expectWithin(times.toSorted((a, b) => a - b)[10] ?? Infinity, 100);
  for (const socket of sockets) socket.destroy();
});

/** Returns the number of connections that this process may still make; it has both ends of each. */
function freeDescriptors(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return Math.floor((Number(limit ?? 1024) - 300) / 2);
}

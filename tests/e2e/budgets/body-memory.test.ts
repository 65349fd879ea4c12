import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { residentBytes } from "./resident-bytes.ts";

// B2: bodies have a budget of memory. This process reads how much the server has.

const MIB = 1024 * 1024;
/** The manual's figure for the server itself. */
const BASE = 200 * MIB;
/** The memory that the runtime keeps for a while after it is free again, in bytes. */
const KEPT = 100 * MIB;
const BUDGET = 64 * MIB;

/** Sends all but the last byte of a body of 6 MiB, and waits for the answer or for nothing more to send. */
async function unfinished(url: URL, replies: string[]): Promise<Socket> {
  const socket = connect(Number(url.port), url.hostname);
  socket.on("error", () => undefined);
  socket.on("data", (data) => replies.push(data.toString()));
  const head = `POST /r/full HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${6 * MIB}\r\n\r\n`;
  await new Promise<void>((resolve) => {
    socket.write(head);
    socket.write(Buffer.alloc(6 * MIB - 1), () => resolve());
    socket.on("close", () => resolve());
  });
  return socket;
}

test("60 unfinished bodies of 6 MiB: those beyond the budget are 503 with Retry-After, and there is room again afterwards", async () => {
  await using server = await SpawnedServer.start({ BODY_MEMORY: "64MiB" });
  const { id } = await server.createFunction(await fixture("static"));
  await fetch(`${server.url}/v1/routes`, { method: "POST", body: JSON.stringify({ path: "/full", function_id: id }) });
  const url = new URL(server.url);
  const replies: string[] = [];
  let most = 0;
  const sockets = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const socket = await unfinished(url, replies);
      most = Math.max(most, residentBytes(server.pid));
      return socket;
    }),
  );
  // One client has half of the budget: five bodies.
  expect(await eventually(() => replies.length >= 55)).toBe(true);
  expect(replies).toHaveLength(55);
  for (const reply of replies) {
    expect(reply).toStartWith("HTTP/1.1 503 ");
    expect(reply).toContain("Retry-After: 2");
    expect(reply).toContain('"reason":"overloaded"');
  }
  expect(most).toBeLessThan(BASE + KEPT + BUDGET);
  for (const socket of sockets) socket.destroy();
  const call = () => fetch(`${server.url}/r/full`, { method: "POST", body: JSON.stringify("x".repeat(5 * MIB)) });
  expect(await eventually(async () => (await call()).status !== 503)).toBe(true);
});

const INSTANCES = 2;
/** The documented needs of an instance: one answer and its output, as the server is configured. */
const OF_INSTANCE = (6 + 1) * MIB;
const LISTENERS = 100;

/** Opens a connection, sends a request, and reads the head of its answer and nothing more. */
async function unread(url: URL, method: string, path: string, body = ""): Promise<{ socket: Socket; head: string }> {
  const socket = connect(Number(url.port), url.hostname);
  socket.on("error", () => undefined);
  const head = new Promise<string>((resolve) => {
    socket.once("data", (data) => {
      socket.pause();
      resolve(data.subarray(0, 1_000).toString());
    });
    socket.once("close", () => resolve(""));
  });
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  return { socket, head: await head };
}

test("a mix of all that takes memory stays under the bound of the manual, and the server answers meanwhile", async () => {
  await using server = await SpawnedServer.start({
    BODY_MEMORY: "64MiB",
    MAX_INSTANCES: String(INSTANCES),
    QUEUE_LIMIT: "500",
    MAX_RESPONSE_BYTES: "6MiB",
    LOG_BYTES: "1MiB",
    DRAIN_MS: "0",
  });
  const { id } = await server.createFunction(await fixture("static"), { timeout_ms: 120_000 });
  await fetch(`${server.url}/v1/routes`, { method: "POST", body: JSON.stringify({ path: "/full", function_id: id }) });
  const url = new URL(server.url);
  const invoke = `/v1/functions/${id}/invoke`;
  const send = (path: string, body: object) =>
    fetch(server.url + path, { method: "POST", body: JSON.stringify(body) }).then(async (answer) => {
      await answer.arrayBuffer();
      return answer.status;
    });
  const queued = async (body: object) => {
    const answer = await fetch(`${server.url}${invoke}?async=true`, { method: "POST", body: JSON.stringify(body) });
    return (await answer.json()) as { data: { id: string } }; // what the API promises
  };
  const answered = await queued({ do: "echo", fill: "x".repeat(5 * MIB) });
  const result = `/v1/invocations/${answered.data.id}/result`;
  expect(await eventually(async () => (await fetch(server.url + result)).status === 200)).toBe(true);
  expect(await eventually(() => residentBytes(server.pid) < BASE)).toBe(true);

  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, residentBytes(server.pid))), 5);
  const sockets: Socket[] = [];
  try {
    // Both instances are taken from here on, so that everything else waits.
    const blocker = await queued({ do: "sleep" });
    const following = `/v1/invocations/${blocker.data.id}/events`;
    const replies: string[] = [];
    const statuses = await Promise.all([
      ...Array.from({ length: 12 }, async () => void sockets.push(await unfinished(url, replies))),
      ...Array.from({ length: 40 }, () =>
        unread(url, "GET", result).then((one) => (sockets.push(one.socket), one.head)),
      ),
      ...Array.from({ length: LISTENERS }, () =>
        unread(url, "GET", following).then((one) => (sockets.push(one.socket), one.head)),
      ),
      ...Array.from({ length: 30 }, () => send(`${invoke}?async=true`, { do: "sleep", fill: "x".repeat(MIB) })),
    ]);
    // More than half of the budget, which is what one client may have.
    const waiting = Array.from({ length: 40 }, () =>
      unread(url, "POST", "/r/full", JSON.stringify({ do: "sleep", fill: "x".repeat(MIB) })).then((one) => {
        sockets.push(one.socket);
        return one.head;
      }),
    );
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    const known = statuses.filter((status) => typeof status === "string");
    expect(known.every((head) => /^HTTP\/1\.1 (?:200 |503 [^]*\r\nRetry-After: )/i.test(head))).toBe(true);
    expect(await Promise.any(waiting)).toMatch(/^HTTP\/1\.1 503 /);
    expect(most).toBeLessThan(BASE + KEPT + BUDGET + INSTANCES * OF_INSTANCE);
  } finally {
    clearInterval(watch);
    for (const socket of sockets) socket.destroy();
  }
  // Not killed: it may be making a container.
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
});

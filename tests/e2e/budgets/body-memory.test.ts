import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

// B2: bodies have a budget of memory. This process reads how much the server has.

const MIB = 1024 * 1024;
/** The server itself, with code and heap, and what Bun keeps besides the bodies. */
const BASE = 300 * MIB;
const BUDGET = 64 * MIB;

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

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
  expect(most).toBeLessThan(BASE + BUDGET);
  for (const socket of sockets) socket.destroy();
  const call = () => fetch(`${server.url}/r/full`, { method: "POST", body: JSON.stringify("x".repeat(5 * MIB)) });
  expect(await eventually(async () => (await call()).status !== 503)).toBe(true);
});

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fixture } from "../../support/images.ts";
import { containersLeft } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { expectProblem } from "./support/invariants.ts";

/** Each connection takes a descriptor at both ends, which have some others. */
const CALLS = Math.min(10_000, descriptorLimit() - 500);
const INSTANCES = 8;
const QUEUE = 40;
/** One function has nine tenths of the queue to itself. */
const WAITING = 36;
/** An idle server uses 52 MB; 10,000 connections raised it to 104. */
const MEMORY_MIB = 300;

function descriptorLimit(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
}

interface Flood {
  readonly refused: number;
  readonly errors: number;
  /** Closes the connections without an answer. */
  readonly leave: () => void;
}

/** Opens this many connections at once, each with one call, and waits until all but `accepted` have an answer. */
async function flood(url: string, path: string, calls: number, accepted: number): Promise<Flood> {
  const { hostname, port } = new URL(url);
  const body = '{"do":"sleep","ms":20000}';
  const request = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  const waiting = new Set<{ end(): unknown }>();
  let [refused, errors] = [0, 0];
  const count = () => refused + errors >= calls - accepted && resolve();
  const fail = () => {
    errors++;
    count();
  };
  const connection = {
    data(socket: { end(): unknown }, bytes: Buffer) {
      const text = bytes.toString();
      if (!text.startsWith("HTTP/1.1 ")) return;
      if (text.startsWith("HTTP/1.1 503 ") && /\r\nretry-after: \d+\r\n/i.test(text)) refused++;
      else errors++;
      waiting.delete(socket);
      count();
    },
    open: (socket: { write(text: string): unknown; end(): unknown }) => {
      waiting.add(socket);
      socket.write(request);
    },
    error: fail,
    connectError: fail,
  };
  const sockets = Array.from({ length: calls }, () =>
    Bun.connect({ hostname, port: Number(port), socket: connection }),
  );
  await Promise.all(sockets);
  await promise;
  return { refused, errors, leave: () => waiting.forEach((socket) => socket.end()) };
}

function peakMib(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

function descriptorsOf(pid: number): number {
  return Array.from(new Bun.Glob("*").scanSync({ cwd: `/proc/${pid}/fd`, onlyFiles: false })).length;
}

test(`${CALLS} calls at once on ${INSTANCES} instances: those beyond the queue get 503 with Retry-After, and no connection fails`, async () => {
  await using server = await SpawnedServer.start({ MAX_INSTANCES: String(INSTANCES), QUEUE_LIMIT: String(QUEUE) });
  const fn = await server.createFunction(await fixture("static"));
  const before = descriptorsOf(server.pid);
  const path = `/v1/functions/${fn.id}/invoke`;
  const started = performance.now();
  const { refused, errors, leave } = await flood(server.url, path, CALLS, INSTANCES + WAITING);
  const took = performance.now() - started;
  expect([refused, errors]).toEqual([CALLS - INSTANCES - WAITING, 0]);
  await expectWithin(took, 15_000);
  expect(peakMib(server.pid)).toBeLessThan(MEMORY_MIB);

  // After the flood, a further call is refused at once.
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const asked = performance.now();
    await expectProblem(await server.invoke(fn, {}), "overloaded", /runs 8 calls at once and 36 wait already/);
    times.push(performance.now() - asked);
  }
  await expectWithin(times.toSorted((a, b) => a - b)[10] ?? Infinity, 50);

  leave();
  expect(await containersLeft(10_000)).toEqual([]);
  expect((await server.invoke(fn, {})).status).toBe(200);
  expect(await eventually(() => descriptorsOf(server.pid) <= before + 5)).toBe(true);
});

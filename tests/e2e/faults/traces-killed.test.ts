import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Collector, type ReceivedSpan } from "../../services/support/collector.ts";
import { outside, treeOf } from "../../services/support/span-trees.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { Receiver } from "../../support/receiver.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";

/** Calls the function `inner` by this server's own API, in its trace, waits for the test's permission, and calls it again. */
const OUTER = `
at=http://$(route -n | awk '$1 == "0.0.0.0" { print $2; exit }'):$PORT
call() { wget -q -O /dev/null --header "traceparent: $TRACEPARENT" --post-data '{}' "$at/$1"; }
call inner && call permission && call inner && echo '{}' > $CONTEXT_PATH/response.json
`;

/** The way from a container to the server, which listens on loopback only, and a place at which functions wait. */
class Way implements AsyncDisposable {
  readonly #listener: Bun.Server<undefined>;
  #server = "";
  /** The functions that wait for permission. */
  readonly waiting: PromiseWithResolvers<Response>[] = [];

  constructor() {
    this.#listener = Bun.serve({
      port: 0,
      hostname: "0.0.0.0",
      idleTimeout: 0,
      fetch: (request) => (request.url.endsWith("/permission") ? this.#wait() : this.#pass(request)),
    });
  }

  get port(): string {
    return String(this.#listener.port);
  }

  /** Leads to this server from now on. */
  leadTo(server: SpawnedServer): void {
    this.#server = server.url;
  }

  /** Waits until so many functions have waited for permission. */
  async reached(count: number): Promise<void> {
    expect(await eventually(() => this.waiting.length >= count, 30_000)).toBe(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener.stop(true);
  }

  #wait(): Promise<Response> {
    const permission = Promise.withResolvers<Response>();
    this.waiting.push(permission);
    return permission.promise;
  }

  #pass(request: Request): Promise<Response> {
    const traceparent = request.headers.get("traceparent") ?? "";
    return fetch(`${this.#server}/v1/functions/inner/invoke`, { method: "POST", body: "{}", headers: { traceparent } });
  }
}

let collector: Collector;
let receiver: Receiver;
let way: Way;
let directory: string;

beforeAll(async () => {
  collector = new Collector();
  receiver = await Receiver.start();
  way = new Way();
  directory = await mkdtemp(join(tmpdir(), "slipway-traces-"));
});
afterAll(async () => {
  await way[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function start(): Promise<SpawnedServer> {
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, CALLBACK_ALLOW: "127.0.0.1" };
  const server = await SpawnedServer.start({ DATA_PATH: directory, ...environment });
  way.leadTo(server);
  return server;
}

/** Registers `outer` and `inner`; only the first one has a network. */
async function register(server: SpawnedServer): Promise<void> {
  const image = await fixture("chaos");
  const entrypoint = ["/bin/sh", "-c"];
  await server.createFunction(image, { name: "inner", network: "none", entrypoint, command: ["exit 0"] });
  const environment = { PORT: way.port };
  await server.createFunction(image, { name: "outer", entrypoint, command: [OUTER], environment });
}

/** Calls `outer` in a caller's trace. */
function call(server: SpawnedServer, trace: string, query = ""): Promise<Response> {
  const headers = { traceparent: `00-${trace}-${CALLER}-01` };
  return fetch(`${server.url}/v1/functions/outer/invoke${query}`, { method: "POST", body: "{}", headers });
}

/** Returns the spans with this name, in the order of their starts. */
function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan[] {
  return spans.filter((span) => span.name === name).toSorted((a, b) => Number(a.start - b.start));
}

test("an attempt and a call that were lost with a killed server: their traces stay whole, say so, and nothing is sent twice", async () => {
  const callsTrace = TRACE.replace("4bf9", "4bf8");
  {
    await using server = await start();
    await register(server);
    const query = `?async=true&callback_url=${encodeURIComponent(receiver.url)}`;
    expect((await call(server, TRACE, query)).status).toBe(202);
    const called = call(server, callsTrace).catch(() => "cut off");
    await way.reached(2);
    // Calls that have ended are with the collector before the server dies, and their records in the database.
    expect((await collector.trace(TRACE, 4)).length).toBe(4);
    expect((await collector.trace(callsTrace, 4)).length).toBe(4);
    server.kill("SIGKILL");
    await server.exited;
    expect(await called).toBe("cut off");
  }
  await using next = await start();
  await way.reached(3);
  expect(next.log.map(({ event }) => event)).toContain("invocations lost with an earlier server");
  way.waiting.at(-1)?.resolve(new Response("go on"));
  await receiver.get(1);

  const spans = await collector.trace(TRACE, 20);
  const inner = "inner(queue start run)";
  expect(treeOf(spans, CALLER)).toBe(
    `outer(attempt(run(${inner})) attempt(queue start run(${inner} ${inner})) callback)`,
  );
  expect(outside(spans)).toEqual([]);
  const [lost, made] = named(spans, "attempt");
  expect(lost).toMatchObject({
    status: 2,
    attributes: { "slipway.status": "lost", "error.type": "instance_lost", "slipway.attempt": "1" },
  });
  expect(made).toMatchObject({ status: 0, attributes: { "slipway.status": "succeeded", "slipway.attempt": "2" } });
  expect(named(spans, "outer")).toMatchObject([{ status: 0, attributes: { "slipway.attempts": "2" } }]);
  const [callback] = named(spans, "callback");
  expect(receiver.received.map(({ headers }) => headers["traceparent"])).toEqual([`00-${TRACE}-${callback?.id}-01`]);

  const lostCall = await collector.trace(callsTrace, 6);
  expect(treeOf(lostCall, CALLER)).toBe(`outer(run(${inner}))`);
  expect(named(lostCall, "outer")).toMatchObject([
    { kind: 2, status: 2, attributes: { "slipway.status": "failed", "error.type": "instance_lost" } },
  ]);

  const ids = collector.spans.map(({ trace, id }) => `${trace} ${id}`);
  expect(new Set(ids).size).toBe(ids.length);
});

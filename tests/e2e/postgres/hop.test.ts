import { InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation, InvocationLogs } from "../../../lib/domain/calls/invocations.ts";
import type { Function, FunctionPools } from "../../../lib/domain/functions/functions.ts";
import type { SystemState } from "../../../lib/domain/system/system.ts";
import { encodeCall } from "../../../lib/services/cluster/wire/hop-message.ts";
import { HOP_PATH, signHop } from "../../../lib/services/cluster/hop-signature.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { VERSION } from "../../../lib/version.ts";
import { head, HostileServer } from "../../services/cluster/support/hostile-server.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { fixture } from "../../support/images.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { freePort } from "../../support/ports/free-port.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { DeafPort } from "./support/deaf-port.ts";

const LONG_MS = 60_000;
/** The instances that are ready at B, which has room for no others; none is ready at A, whose calls start their own if they must. */
const READY = 3;

let cluster: Cluster;
let a: SpawnedServer;
let b: SpawnedServer;

beforeAll(async () => {
  cluster = await startCluster();
  [a, b] = await Promise.all([
    cluster.start("a", { LOG_LEVEL: "debug" }),
    cluster.start("b", { WARM_MAX: String(READY), MAX_INSTANCES: String(READY), LOG_LEVEL: "debug" }),
  ]);
});
afterAll(async () => {
  await a[Symbol.asyncDispose]();
  await b[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

async function dataOf<T>({ url }: SpawnedServer, path: string): Promise<T> {
  const { data } = (await (await fetch(`${url}${path}`)).json()) as { data: T }; // an envelope
  return data;
}

/** Waits until all instances of a function are ready at B, and A has heard of it. */
async function untilKnown({ id }: Function): Promise<void> {
  const ready = async () => (await dataOf<FunctionPools>(b, `/v1/functions/${id}`)).pool.ready === READY;
  expect(await eventually(ready, LONG_MS)).toBe(true);
  // Each reports itself, and reads what the others have reported.
  await dataOf(b, "/v1/system");
  const { servers } = await dataOf<SystemState>(a, "/v1/system");
  expect(servers).toMatchObject([{ id: "a" }, { id: "b", ready: READY, living: true }]);
}

/** A function whose instances are ready at B. It is deleted at the end of a test. */
async function readyFunction(settings: Partial<Function> = {}) {
  const fn = await b.createFunction(await fixture("chaos"), { warm_min: READY, timeout_ms: 20_000, ...settings });
  await untilKnown(fn);
  return { fn, [Symbol.asyncDispose]: () => a.deleteFunction(fn.id) };
}

async function records({ id }: Function, count: number): Promise<Invocation[]> {
  const list = async () =>
    (await dataOf<{ invocations: Invocation[] }>(a, `/v1/invocations?function_id=${id}&limit=100`)).invocations;
  // The other server writes them within 100 ms.
  const areThere = async () => (await list()).filter(({ finished_at }) => finished_at !== null).length >= count;
  expect(await eventually(areThere, LONG_MS)).toBe(true);
  return list();
}

const passedOn = ({ log }: SpawnedServer) => log.filter(({ event }) => event === "call passed on").length;

/** Checks how many calls a server has passed on; its log may come after its answers. */
async function expectPassedOn(server: SpawnedServer, count: number): Promise<void> {
  await eventually(() => passedOn(server) >= count, LONG_MS);
  expect(passedOn(server)).toBe(count);
}

test("a call that finds no ready instance is answered once by the server that has one, which may refuse it", async () => {
  await using ready = await readyFunction();
  const { fn } = ready;
  const times: number[] = [];
  for (let call = 0; call < READY; call++) {
    const began = performance.now();
    const answer = await a.invoke(fn, { do: "echo", call });
    times.push(performance.now() - began);
    expect([answer.status, await answer.json()]).toEqual([200, { do: "echo", call }]);
    // A would have started one.
    expect(answer.headers.get("server-timing")).toContain("desc=warm");
    await untilKnown(fn);
  }
  await expectPassedOn(a, READY);
  const made = await records(fn, READY);
  expect(made.map(({ status, start }) => [status, start])).toEqual(
    Array.from({ length: READY }, () => ["succeeded", "warm"]),
  );

  // B is full now, which A has not heard: it is asked, refuses, asks nobody itself, and the call starts an instance here.
  const leave = new AbortController();
  const busy = Array.from({ length: READY }, () =>
    b.invoke(fn, { do: "sleep" }, { signal: leave.signal }).catch(() => undefined),
  );
  const isFull = async () =>
    (await dataOf<{ pool: { busy: number } }>(b, `/v1/functions/${fn.id}`)).pool.busy === READY;
  expect(await eventually(isFull, LONG_MS)).toBe(true);
  const began = performance.now();
  const answer = await a.invoke(fn, { do: "echo" });
  expect([answer.status, answer.headers.get("server-timing")]).toEqual([200, expect.stringContaining("desc=cold")]);
  expect(Math.min(...times)).toBeLessThan(performance.now() - began);
  expect([passedOn(a), passedOn(b)]).toEqual([READY, 0]);
  leave.abort();
  await Promise.all(busy);
  expect(await records(fn, 2 * READY + 1)).toHaveLength(2 * READY + 1);
});

test("an answer that streams passes as it comes, and a client that leaves ends its call at the other server", async () => {
  const script = "echo begin; case $(cat) in *sleep*) exec sleep 60;; esac; sleep 1; head -c 200000 /dev/zero";
  await using streaming = await readyFunction({ contract: "stdio", stream: true, entrypoint: ["sh", "-c", script] });
  const { fn } = streaming;
  const answer = await a.invoke(fn, {});
  const reader = answer.body?.getReader();
  const first = await reader?.read();
  expect(Buffer.from(first?.value ?? []).toString()).toBe("begin\n");
  let bytes = 0;
  for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read())
    bytes += piece.value.length;
  expect(bytes).toBe(200_000);
  const leave = new AbortController();
  const left = await a.invoke(fn, { do: "sleep" }, { signal: leave.signal });
  await left.body?.getReader().read();
  leave.abort();
  const ended = await records(fn, 2);
  expect(ended.map(({ status, start }) => [status, start])).toEqual([
    ["cancelled", "warm"],
    ["succeeded", "warm"],
  ]);
});

test("a client that leaves before its answer ends its call at the other server, which writes its record", async () => {
  await using ready = await readyFunction();
  const leave = new AbortController();
  const before = passedOn(a);
  const answering = a.invoke(ready.fn, { do: "sleep" }, { signal: leave.signal }).catch(() => "left");
  expect(await eventually(() => passedOn(a) > before, LONG_MS)).toBe(true);
  leave.abort();
  expect(await answering).toBe("left");
  expect(await records(ready.fn, 1)).toMatchObject([
    { status: "cancelled", start: "warm", run_ms: expect.any(Number) },
  ]);
  // Whatever the server that passed it on might write, it has by now.
  await untilKnown(ready.fn);
  expect(await records(ready.fn, 1)).toMatchObject([
    { status: "cancelled", start: "warm", run_ms: expect.any(Number) },
  ]);
});

test("a server that stops waits for calls that it has passed on, and ends them when its time is up", async () => {
  await using ready = await readyFunction();
  let made = 0;
  for (const [DRAIN_MS, ms, expected] of [
    ["20000", 1_500, { status: "succeeded" }],
    ["500", 19_000, { status: "cancelled" }],
  ] as const) {
    made++;
    await using c = await cluster.start("c", { LOG_LEVEL: "debug", DRAIN_MS });
    await dataOf(c, "/v1/system");
    const answering = c.invoke(ready.fn, { do: "sleep", ms });
    expect(await eventually(() => passedOn(c) > 0, LONG_MS)).toBe(true);
    const began = performance.now();
    c.kill("SIGTERM");
    const answer = await answering;
    if (expected.status === "cancelled")
      expect([answer.status, await answer.json()]).toMatchObject([503, { reason: "shutting_down" }]);
    else expect(answer.status).toBe(200);
    await c.exited;
    await expectWithin(performance.now() - began, 8_000);
    await untilKnown(ready.fn);
    // The newest.
    expect((await records(ready.fn, made))[0]).toMatchObject({ ...expected, start: "warm" });
  }
});

test("a call with an Idempotency-Key is passed on once, and its answer is for all that have the key, at any server", async () => {
  await using ready = await readyFunction();
  const before = passedOn(a);
  const init = { headers: { "Idempotency-Key": crypto.randomUUID() } };
  const body = { do: "sleep", ms: 300 };
  const answers = await Promise.all([a.invoke(ready.fn, body, init), a.invoke(ready.fn, body, init)]);
  answers.push(await b.invoke(ready.fn, body, init));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  const ids = answers.map(({ headers }) => headers.get("x-request-id"));
  expect(new Set(ids).size).toBe(1);
  await expectPassedOn(a, before + 1);
  expect(await records(ready.fn, 1)).toMatchObject([{ id: ids[0], status: "succeeded", start: "warm" }]);
});

test("a server with https is passed calls on if the one where they come in trusts its certificate, and none otherwise", async () => {
  const directory = await mkdtemp(join(tmpdir(), "slipway-hop-"));
  await makeCertificate(directory, "own");
  const [cert, key] = [join(directory, "own.pem"), join(directory, "own.key")];
  await using own = await startCluster();
  const port = String(freePort());
  const encrypted = { PORT: port, ADVERTISE_URL: `https://127.0.0.1:${port}`, TLS_CERT: cert, TLS_KEY: key };
  await using ready = await own.start("ready", { ...encrypted, WARM_MAX: "1", MAX_INSTANCES: "1" });
  await using trusting = await own.start("trusting", { NODE_EXTRA_CA_CERTS: cert, LOG_LEVEL: "debug" });
  await using other = await own.start("other", { LOG_LEVEL: "debug" });
  const fn = await other.createFunction(await fixture("chaos"), { warm_min: 1 });
  expect(ready.url).toStartWith("https:");
  const knows = async (server: SpawnedServer) => {
    const { servers } = await dataOf<SystemState>(server, "/v1/system");
    return servers?.some((member) => member.id === "ready" && member.ready === 1) === true;
  };
  for (const [server, count] of [
    [trusting, 1],
    [other, 0],
  ] as const) {
    expect(await eventually(() => knows(server), LONG_MS)).toBe(true);
    expect((await server.invoke(fn, { do: "echo" })).status).toBe(200);
    await expectPassedOn(server, count);
  }
  const warning = await other.logged("another server does not answer");
  expect(warning).toMatchObject({ server: "ready", problem: expect.stringContaining("self signed certificate") });
  await other.deleteFunction(fn.id);
  await rm(directory, { recursive: true });
});

test("a call that was forged, comes again, or was for another process is refused", async () => {
  await using ready = await readyFunction();
  const { fn } = ready;
  const key = new Vault(cluster.key).keyFor("calls passed on to other servers");
  await using client = new Client(cluster.postgres.url("slipway"), { connections: 1 });
  const row = await client.get<{ epoch: string; now: number }>(
    "select epoch, (extract(epoch from clock_timestamp()) * 1000)::double precision as now from servers where id = 'b'",
  );
  const { epoch = "", now = 0 } = row ?? {};
  const via = { path: "/", path_rest: null, route: null, query: {}, query_string: "", client_address: null };
  const request = { method: "POST", url: "/", headers: {}, via };
  const { id: function_id, version, updated_at } = fn;
  const call = {
    slipway: VERSION,
    id: crypto.randomUUID(),
    function_id,
    version,
    updated_at,
    route_id: null,
    key_id: null,
  };
  const sent = { ...call, collect: false, reads_record: false, request };
  const message = encodeCall(sent, Buffer.from("{}"));
  const send = async (headers: Record<string, string>, body: Uint8Array<ArrayBuffer> = message) => {
    const answer = await fetch(`${b.url}${HOP_PATH}`, { method: "POST", body, headers });
    await answer.arrayBuffer();
    return answer.status;
  };
  const to = { id: "b", epoch };
  const sign = (given = to, at = now, by = key) => signHop(by, given, message, Math.round(at)).headers;
  expect(await send({})).toBe(401);
  expect(await send(sign(to, now, crypto.getRandomValues(new Uint8Array(32))))).toBe(401);
  expect(await send(sign({ id: "a", epoch }))).toBe(401);
  // Signed by who has the key, for a process that has ended.
  expect(await send(sign({ id: "b", epoch: "another" }))).toBe(409);
  expect(await send(sign(to, now - 60_000))).toBe(401);
  expect(await send(sign(), encodeCall(sent, Buffer.from("{} ")))).toBe(401);
  const right = sign();
  expect(await send(right)).toBe(200);
  expect(await send(right)).toBe(401);
  expect(await records(fn, 1)).toHaveLength(1);
});

test("a client has the whole end of the log of a call that was passed on, and so has the API, at once", async () => {
  await using ready = await readyFunction({ name: "logs" });
  const { fn } = ready;
  const credentials = { accessKeyId: "fake", secretAccessKey: "fake" };
  const client = new LambdaClient({ endpoint: a.url, region: "eu-west-1", credentials });
  const command = {
    FunctionName: "logs",
    Payload: JSON.stringify({ do: "log", text: "printed" }),
    LogType: "Tail",
  } as const;
  const before = passedOn(a);
  const { LogResult } = await client.send(new InvokeCommand(command));
  expect(atob(LogResult ?? "")).toBe("printed");
  await untilKnown(fn);
  const { EventStream } = await client.send(new InvokeWithResponseStreamCommand(command));
  const events = await Array.fromAsync(EventStream ?? []);
  expect(atob(events.at(-1)?.InvokeComplete?.LogResult ?? "")).toBe("printed");
  await untilKnown(fn);
  const answer = await a.invoke(fn, { do: "log", text: "printed" });
  const path = `/v1/invocations/${answer.headers.get("x-request-id")}`;
  const [logs, record] = await Promise.all([dataOf<InvocationLogs>(a, `${path}/logs`), dataOf<Invocation>(a, path)]);
  expect(logs.entries.map(({ text }) => text)).toEqual(["printed"]);
  expect(record).toMatchObject({ status: "succeeded", start: "warm", log_bytes: 7 });
  expect(passedOn(a)).toBe(before + 3);
});

test("a program at the address of a server cannot answer its calls, nor is it asked again; a server of another version gets none", async () => {
  const fn = await a.createFunction(await fixture("chaos"));
  const pages = () =>
    HostileServer.start(new Uint8Array(32), ({ socket }) => (head(socket), void socket.end("Welcome")));
  await using stranger = await pages();
  await using older = await pages();
  await using client = new Client(cluster.postgres.url("slipway"), { connections: 1 });
  for (const [id, url, version, places] of [
    ["stranger", stranger.url, VERSION, 8],
    ["older", older.url, "0.0.1", 9],
  ] as const)
    await client.run(
      `insert into servers (id, epoch, url, version, heartbeat, places)
       select $id, 'e', $url, $version, (extract(epoch from clock_timestamp()) * 1000)::bigint + 600000, $places::text::jsonb`,
      { id, url, version, places: JSON.stringify({ [`${fn.id}@${fn.version}`]: places }) },
    );
  const { servers } = await dataOf<SystemState>(a, "/v1/system");
  expect(servers).toContainEqual(expect.objectContaining({ id: "stranger", ready: 8, living: true }));
  const answer = await a.invoke(fn, { do: "echo" });
  expect([answer.status, await answer.json()]).toMatchObject([502, { reason: "instance_lost" }]);
  expect((await a.invoke(fn, { do: "echo" })).status).toBe(200);
  await client.run("delete from servers where id in ('stranger', 'older')", {});
  expect([stranger.requests.length, older.requests.length]).toEqual([1, 0]);
  expect((await records(fn, 2)).map(({ reason }) => reason)).toEqual([null, "instance_lost"]);
  await a.deleteFunction(fn.id);
});

test("a call whose server is lost has run at most once, and has one record", async () => {
  await using ready = await readyFunction();
  const { fn } = ready;
  const before = passedOn(a);
  const answering = a.invoke(fn, { do: "sleep" });
  expect(await eventually(() => passedOn(a) > before, LONG_MS)).toBe(true);
  b.kill("SIGKILL");
  const answer = await answering;
  expect([answer.status, await answer.json()]).toMatchObject([502, { reason: "instance_lost" }]);
  expect(await records(fn, 1)).toMatchObject([{ status: "failed", reason: "instance_lost" }]);
  // Nobody asks it again.
  expect((await a.invoke(fn, { do: "echo" })).status).toBe(200);
});

/** A server besides A with room for one instance, which it has ready for a function, as A has heard. */
async function startReady(id: string, variables: Readonly<Record<string, string>>) {
  const fn = await a.createFunction(await fixture("chaos"), { warm_min: 1, timeout_ms: 20_000 });
  const server = await cluster.start(id, { WARM_MAX: "1", MAX_INSTANCES: "1", ...variables });
  /** Returns the calls that the ready instances there could serve, as far as A knows, once both have reported. */
  const readyCalls = async () => {
    await dataOf(server, "/v1/system");
    const { servers } = await dataOf<SystemState>(a, "/v1/system");
    return servers?.find((one) => one.id === id && one.living)?.ready;
  };
  expect(await eventually(async () => (await readyCalls()) === 1, LONG_MS)).toBe(true);
  const end = async () => {
    await server[Symbol.asyncDispose]();
    await a.deleteFunction(fn.id);
  };
  return { fn, server, readyCalls, [Symbol.asyncDispose]: end };
}

test("a server that is about to stop takes no more calls of others", async () => {
  await using ready = await startReady("c", { DRAIN_DELAY_MS: "1h" });
  const { fn, server, readyCalls } = ready;
  const before = passedOn(a);
  server.kill("SIGTERM");
  const isStopping = async () => (await fetch(`${server.url}/readyz`)).status === 503;
  expect(await eventually(isStopping, LONG_MS)).toBe(true);
  // A may not know yet, and is refused then.
  expect((await a.invoke(fn, { do: "echo" })).status).toBe(200);
  expect(await readyCalls()).toBe(0);
  expect(passedOn(a)).toBe(before);
});

test("a call is made here if the other server cannot be connected to, however long nothing says so", async () => {
  await using port = await DeafPort.start();
  await using ready = await startReady("d", { ADVERTISE_URL: `http://127.0.0.1:${port.number}` });
  const answer = await a.invoke(ready.fn, { do: "echo" });
  expect([answer.status, answer.headers.get("server-timing")]).toEqual([200, expect.stringContaining("desc=cold")]);
  const isTold = () =>
    a.log.some((line) => line["event"] === "another server cannot be reached" && line["server"] === "d");
  expect(await eventually(isTold, LONG_MS)).toBe(true);
});

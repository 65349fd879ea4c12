import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { PullTracker } from "../../../lib/docker/api/pull-tracker.ts";
import { Function } from "../../../lib/domain/functions/functions.ts";
import { PullProgress } from "../../../lib/domain/images/pull-progress.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { allEvents, eventsOf, type ReceivedEvent } from "../../support/events.ts";
import { fixture, hasContainerdStore } from "../../support/images.ts";
import { type Pushed, type Registry, startRegistry } from "../../support/registry/registry.ts";
import { TestServer } from "../../support/server.ts";

const MIB = 1024 * 1024;
const LAYERS = 4;

let engine: Engine;
let proxy: EngineProxy;
let registry: Registry;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
  registry = await startRegistry();
  server = await TestServer.start({ DOCKER_HOST: proxy.host });
});

beforeEach(() => proxy.change("pass"));

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  const ids = (await engine.docker("images", "-q", "--filter", `reference=${registry.host}/*/*`)).split("\n");
  const ours = ids.filter((id) => id !== "");
  if (ours.length > 0) await engine.docker("rmi", "-f", ...new Set(ours));
});

/** Puts an image with incompressible layers of 2 MiB each into the registry. */
function pushLayers(): Promise<Pushed> {
  const layer = () => Buffer.concat(Array.from({ length: 32 }, () => crypto.getRandomValues(new Uint8Array(MIB / 16))));
  const name = `team/l${crypto.randomUUID().slice(0, 8)}:1`;
  return registry.pushLayers(name, "static", Array.from({ length: LAYERS }, layer));
}

function send(method: string, path: string, body: object | undefined, init: RequestInit = {}): Promise<Response> {
  const headers = { Accept: "text/event-stream" };
  return fetch(server.url + path, { method, headers, ...(body && { body: JSON.stringify(body) }), ...init });
}

function create(image: string, init: RequestInit = {}): Promise<Response> {
  return send("POST", "/v1/functions", { image }, init);
}

function progressOf(events: readonly ReceivedEvent[]): PullProgress[] {
  return events.filter(({ event }) => event === "progress").map(({ data }) => Value.Decode(PullProgress, data));
}

/** Returns if lines of a pull's reply name all layers. */
function nameLayers(lines: readonly string[]): boolean {
  const tracker = new PullTracker();
  for (const line of lines) if (line.startsWith("{")) tracker.add(JSON.parse(line));
  return tracker.progress.layers.length >= LAYERS;
}

async function functionsOf(image: string): Promise<Function[]> {
  return (await server.api<Function[]>("GET", "/v1/functions")).body.data.filter((fn) => fn.image === image);
}

describe("POST /v1/functions with Accept: text/event-stream", () => {
  test("reports the pull layer by layer, and ends with the function", async () => {
    const { reference } = await pushLayers();
    const response = await create(reference);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    const events = await allEvents(response);
    const progress = progressOf(events);
    expect(progress[0]).toEqual({ layers: [], downloaded_bytes: 0, total_bytes: 0 });
    const last = progress.at(-1);
    const fetched = last?.layers.filter(({ status }) => status === "complete") ?? [];
    expect(fetched).toHaveLength(LAYERS);
    // The containerd image store says nothing about the size of a layer that came fast.
    const sized = fetched.filter(({ total_bytes }) => total_bytes !== null);
    if (!(await hasContainerdStore(engine.client))) expect(sized).toHaveLength(LAYERS);
    for (const { total_bytes, current_bytes } of sized) {
      expect(total_bytes).toBeGreaterThan(2 * MIB);
      expect(current_bytes).toBe(total_bytes ?? 0);
    }
    expect(last?.downloaded_bytes).toBe(last?.total_bytes ?? 0);
    expect(last?.total_bytes).toBeGreaterThanOrEqual(sized.length * 2 * MIB);
    const totals = progress.map(({ total_bytes }) => total_bytes);
    expect(totals).toEqual(totals.toSorted((a, b) => a - b));
    const end = events.at(-1);
    expect(end?.event).toBe("function");
    expect(Value.Check(Function, end?.data)).toBe(true);
    expect(await functionsOf(reference)).toEqual([end?.data as Function]); // checked above
  });

  test("answers at once with only the function if the image exists", async () => {
    const image = await fixture("static");
    const events = await allEvents(await create(image));
    expect(events.map(({ event }) => event)).toEqual(["function"]);
  });

  test.each<[string, object, number, string]>([
    ["a wrong body", { image: 1 }, 400, "invalid_request"],
    ["a wrong reference", { image: "UPPER" }, 400, "invalid_request"],
    ["a network that is not there", { image: "127.0.0.1:9/x", network: "nowhere" }, 400, "invalid_request"],
  ])("answers %s without a stream", async (_, body, status, reason) => {
    const response = await send("POST", "/v1/functions", body);
    expect([response.status, response.headers.get("content-type")]).toEqual([
      status,
      expect.stringMatching(/^application\/json/),
    ]);
    expect(await response.json()).toMatchObject({ success: false, reason });
  });

  test("ends with the error of a failed pull, in the form of its envelope", async () => {
    const response = await create(`${registry.host}/team/nothing:9`);
    expect(response.status).toBe(200);
    const events = await allEvents(response);
    expect(events.map(({ event }) => event)).toEqual(["progress", "error"]);
    expect(events[1]?.data).toEqual({
      success: false,
      data: null,
      reason: "image_not_found",
      message: expect.stringContaining("the registry has no such image"),
      request_id: response.headers.get("x-request-id"),
    });
  });

  test("shares one pull: a late client sees its state, and a client that leaves does not end it", async () => {
    const { reference } = await pushLayers();
    const pulls: string[] = [];
    let hold = true;
    proxy.change(({ path }) => {
      if (!path.startsWith("/images/create")) return "pass";
      pulls.push(path);
      // All layers are named, then nothing comes, as from a slow registry.
      return hold ? { lines: nameLayers } : "pass";
    });
    const leaving = new AbortController();
    const first = await create(reference, { signal: leaving.signal });
    const seen = eventsOf(first);
    let known: PullProgress = { layers: [], downloaded_bytes: 0, total_bytes: 0 };
    // The engine may name the layers one by one, and tell of one more often before it names the next.
    while (known.layers.length < LAYERS) known = Value.Decode(PullProgress, (await seen.next()).value?.data);
    const late = await create(reference);
    const events = eventsOf(late);
    const joined = (await events.next()).value;
    // The engine may have told more since then: the first client gets to that state too, or the test times out.
    while (!Bun.deepEquals({ event: "progress", data: known }, joined))
      known = Value.Decode(PullProgress, (await seen.next()).value?.data);
    leaving.abort();
    expect(pulls).toHaveLength(1);
    // The engine dies during the pull: all remaining clients get an error.
    hold = false;
    proxy.use("pass");
    const rest = await Array.fromAsync(events);
    expect(rest.at(-1)).toMatchObject({ event: "error", data: { reason: "image_unavailable" } });
  });

  test("registers the function although its client has left", async () => {
    const { reference } = await pushLayers();
    const leaving = new AbortController();
    const left = Promise.withResolvers<void>();
    // The pull cannot be over before its client has left, however slow that is.
    proxy.change(({ path }) => (path.startsWith("/images/create") ? { after: left.promise } : "pass"));
    const response = await create(reference, { signal: leaving.signal });
    leaving.abort();
    expect(await response.text().catch(() => "gone")).toBe("gone");
    // A request for the same image waits for the same pull.
    const other = await create(reference);
    left.resolve();
    expect((await allEvents(other)).at(-1)?.event).toBe("function");
    // Otherwise the test times out.
    while ((await functionsOf(reference)).length < 2) continue;
    expect(await functionsOf(reference)).toHaveLength(2);
  });
});

describe("other endpoints with Accept: text/event-stream", () => {
  test("POST /v1/functions/:id/pull and PATCH of an image also report the pull", async () => {
    const [first, second] = [await pushLayers(), await pushLayers()];
    const fn = await server.createFunction(first.reference);
    const pulled = await allEvents(await send("POST", `/v1/functions/${fn.id}/pull`, undefined));
    // For an image that is up to date the engine names no layers.
    expect(pulled.map(({ event }) => event)).toEqual(["progress", "function"]);
    expect(pulled.at(-1)).toMatchObject({ event: "function", data: { id: fn.id, digest: fn.digest } });
    const changed = await allEvents(await send("PATCH", `/v1/functions/${fn.id}`, { image: second.reference }));
    const fetched = progressOf(changed)
      .at(-1)
      ?.layers.filter(({ status }) => status === "complete");
    expect(fetched).toHaveLength(LAYERS);
    expect(changed.at(-1)).toMatchObject({ event: "function", data: { id: fn.id, image: second.reference } });
    const unknown = await send("POST", "/v1/functions/nobody/pull", undefined);
    expect(unknown.status).toBe(404);
  });
});

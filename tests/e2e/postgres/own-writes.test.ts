import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { NewKey, Scope } from "../../../lib/domain/keys.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { PAGE_HEADER } from "../../../lib/http/access/own-page.ts";
import { fixture } from "../../support/images.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { Cluster } from "./support/cluster.ts";
import { MutedNetwork } from "./support/muted-network.ts";

let cluster: Cluster;
let network: MutedNetwork;
let a: SpawnedServer;
/** Learns of a change within a second by itself, and of nothing sooner. */
let b: SpawnedServer;
let image: string;

beforeAll(async () => {
  cluster = await Cluster.start();
  network = await MutedNetwork.start(cluster.postgres.directory);
  const muted = { DATABASE_URL: network.url("postgres") };
  [a, b, image] = await Promise.all([cluster.server("a"), cluster.server("b", muted), fixture("chaos")]);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await network[Symbol.asyncDispose]();
});

let made = 0;

/** Makes a function at A, of which B knows nothing yet. */
function newFunction(): Promise<Function> {
  return a.createFunction(image, { name: `own-${++made}` });
}

interface Sent {
  readonly body?: object;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

function send(
  { url }: SpawnedServer,
  method: string,
  path: string,
  { body, token, headers }: Sent = {},
): Promise<Response> {
  return fetch(`${url}${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
  });
}

async function dataOf<T>(response: Promise<Response>): Promise<T> {
  return ((await (await response).json()) as { data: T }).data; // an envelope
}

async function newKey(...scopes: Scope[]): Promise<NewKey> {
  return dataOf(send(a, "POST", "/v1/keys", { body: { name: `own-${++made}`, scopes } }));
}

async function newRoute(body: object): Promise<Route> {
  return dataOf(send(a, "POST", "/v1/routes", { body }));
}

test("a function is known on another server at once: shown, called, submitted, and by the other platforms' APIs", async () => {
  expect((await send(b, "GET", `/v1/functions/${(await newFunction()).id}`)).status).toBe(200);
  expect((await b.invoke(await newFunction(), {})).status).toBe(200);
  const queued = await send(b, "POST", `/v1/functions/${(await newFunction()).id}/invoke?async=true`, { body: {} });
  expect(queued.status).toBe(202);
  const aws = `/2015-03-31/functions`;
  expect((await send(b, "GET", `${aws}/${(await newFunction()).name}`)).status).toBe(200);
  const invoked = await send(b, "POST", `${aws}/${(await newFunction()).name}/invocations`, { body: {} });
  expect(invoked.status).toBe(200);
  expect((await send(b, "POST", `/function/${(await newFunction()).name}`, { body: {} })).status).toBe(200);
});

test("a change of a function is shown on another server at once, and so is that it is gone", async () => {
  const fn = await newFunction();
  for (const version of [2, 3]) {
    const environment = { VERSION: String(version) };
    expect((await send(a, "PATCH", `/v1/functions/${fn.id}`, { body: { environment } })).status).toBe(200);
    expect(await dataOf<Function>(send(b, "GET", `/v1/functions/${fn.id}`))).toMatchObject({ version, environment });
  }
  const invoked = await send(b, "POST", `/2015-03-31/functions/${fn.name}/invocations?Qualifier=3`, { body: {} });
  expect(invoked.headers.get("x-amz-executed-version")).toBe("3");
  expect((await send(a, "DELETE", `/v1/functions/${fn.id}`)).status).toBe(200);
  expect((await send(b, "GET", `/v1/functions/${fn.id}`)).status).toBe(404);
});

test("a route leads to its function on another server at once, by its path and by its host", async () => {
  const fn = await newFunction();
  await newRoute({ path: "/own-path", function_id: fn.id });
  expect((await send(b, "POST", "/r/own-path", { body: {} })).status).toBe(200);
  for (const [host, path] of [
    ["one.example", "/"],
    ["two.example", "/below/it"],
  ] as const) {
    await newRoute({ hosts: [host], function_id: fn.id });
    expect((await send(b, "POST", path, { body: {}, headers: { host } })).status).toBe(200);
  }
  const other = await newFunction();
  const route = await send(b, "POST", "/v1/routes", { body: { path: "/own-other", function_id: other.id } });
  expect(route.status).toBe(200);
});

test("a key is accepted on another server at once: by the API, on a route, and for a login", async () => {
  const fn = await newFunction();
  const route = await newRoute({ path: "/own-keyed", function_id: fn.id, auth: "key" });
  expect((await send(b, "GET", `/v1/routes/${route.id}`)).status).toBe(200);
  const { token: reader } = await newKey("read");
  expect((await send(b, "GET", "/v1/functions", { token: reader })).status).toBe(200);
  const { token: caller } = await newKey("invoke");
  expect((await send(b, "POST", "/r/own-keyed", { body: {}, token: caller })).status).toBe(200);
  const { token: other } = await newKey("invoke");
  expect((await send(b, "POST", `/v1/functions/${fn.id}/invoke`, { body: {}, token: other })).status).toBe(200);
  const { token: key } = await newKey("read");
  const page = { origin: b.url, [PAGE_HEADER]: "1" };
  expect((await send(b, "POST", "/ui/login", { body: { key }, headers: page })).status).toBe(200);
});

test("a key that was revoked is refused on another server at once, but for calls", async () => {
  const { id, token } = await newKey("read", "deploy");
  expect((await send(b, "GET", "/v1/functions", { token })).status).toBe(200);
  expect((await send(a, "DELETE", `/v1/keys/${id}`)).status).toBe(200);
  expect((await send(b, "GET", "/v1/functions", { token })).status).toBe(401);
});

test("what nobody has made stays unknown, and what is asked for meanwhile is not in its way", async () => {
  const unknown = Array.from({ length: 50 }, (_, index) => send(b, "GET", `/r/nothing-${index}`));
  const fn = await newFunction();
  await newRoute({ path: "/own-late", function_id: fn.id });
  expect((await send(b, "POST", "/r/own-late", { body: {} })).status).toBe(200);
  for (const response of await Promise.all(unknown)) expect(response.status).toBe(404);
});

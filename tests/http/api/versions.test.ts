import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import type { FunctionVersion, VersionPage } from "../../../lib/domain/functions/versions.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;
let image: string;
let other: string;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("static");
  other = await fixture("nonroot");
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  for (const { id } of expectSuccess(await server.api<Function[]>("GET", "/v1/functions")))
    await server.api("DELETE", `/v1/functions/${id}?cascade=true`);
  fn = await server.createFunction(image, { name: "app", environment: { STEP: "1" } });
});

async function patch(body: object): Promise<Function> {
  return expectSuccess(await server.api<Function>("PATCH", "/v1/functions/app", body));
}

function rollback(body: unknown, id = "app") {
  return server.api<Function>("POST", `/v1/functions/${id}/rollback`, body);
}

async function page(query = ""): Promise<VersionPage> {
  return expectSuccess(await server.api<VersionPage>("GET", `/v1/functions/app/versions${query}`));
}

async function numbers(): Promise<number[]> {
  return (await page()).versions.map(({ version }) => version);
}

describe("GET /v1/functions/:id/versions", () => {
  test("GET /v1/functions/:id/versions shows earlier states of the function, newest first", async () => {
    const second = await patch({ image: other, environment: { STEP: "2" }, timeout_ms: 2000 });
    const { versions, next_cursor } = await page();
    const { id, name: _name, created_at: _created, updated_at, ...fields } = second;
    expect(versions[0]).toEqual({ ...fields, function_id: id, current: true, created_at: updated_at });
    expect(versions[1]).toMatchObject({
      function_id: id,
      version: 1,
      current: false,
      image,
      environment: { STEP: "1" },
      timeout_ms: 3e4,
      image_id: fn.image_id,
      digest: null,
      created_at: fn.created_at,
    });
    expect([versions.length, next_cursor]).toEqual([2, null]);
    expect(Object.keys(versions[0] ?? {}).slice(0, 4)).toEqual(["function_id", "version", "current", "image"]);
  });

  test("PATCH makes no version for a change of the name, or for one that changes nothing", async () => {
    await patch({ name: "app" });
    await patch({ image, environment: { STEP: "1" }, timeout_ms: 30_000, labels: {}, user: null });
    expectSuccess(await server.api("PATCH", "/v1/functions/app", { name: "app-2" }));
    expectSuccess(await server.api("POST", "/v1/functions/app-2/pull"));
    expect((await patchOf("app-2", { name: "app" })).version).toBe(1);
    expect(await numbers()).toEqual([1]);
  });

  test("a PATCH that is refused makes no version", async () => {
    expectError(await server.api("PATCH", "/v1/functions/app", { warm_min: 5, warm_max: 4 }), {
      status: 400,
      reason: "invalid_request",
    });
    expect(await numbers()).toEqual([1]);
  });

  test("GET /v1/functions/:id/versions pages by cursor", async () => {
    for (let pids = 10; pids < 14; pids++) await patch({ pids });
    const first = await page("?limit=2");
    expect([first.versions.map(({ version }) => version), first.next_cursor]).toEqual([[5, 4], "4"]);
    const second = await page("?limit=2&cursor=4");
    expect([second.versions.map(({ version }) => version), second.next_cursor]).toEqual([[3, 2], "2"]);
    const last = await page("?limit=2&cursor=2");
    expect([last.versions.map(({ version }) => version), last.next_cursor]).toEqual([[1], null]);
  });

  test.each([
    ["?limit=0", 'Invalid "limit" "0": give a whole number from 1 to 500'],
    ["?limit=x", 'Invalid "limit" "x": give a whole number from 1 to 500'],
    ["?cursor=x", 'Invalid "cursor" "x": give the "next_cursor" of the page before'],
    ["?page=1", 'Unknown query parameter "page": expected "cursor" or "limit"'],
  ])("GET /v1/functions/:id/versions%s answers 400", async (query, message) => {
    const reply = await server.api("GET", `/v1/functions/app/versions${query}`);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test("GET /v1/functions/:id/versions answers 404 for an unknown function", async () => {
    const message = `No function "${NOWHERE}": GET /v1/functions lists them`;
    expectError(await server.api("GET", `/v1/functions/${NOWHERE}/versions`), {
      status: 404,
      reason: "not_found",
      message,
    });
  });
});

async function patchOf(id: string, body: object): Promise<Function> {
  return expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${id}`, body));
}

describe("GET /v1/functions/:id/versions/:version", () => {
  test("GET /v1/functions/:id/versions/:version shows a version", async () => {
    await patch({ environment: { STEP: "2" } });
    const one = await server.api<FunctionVersion>("GET", `/v1/functions/${fn.id}/versions/1`);
    expect(expectSuccess(one)).toEqual((await page()).versions[1] ?? expectSuccess(one));
    expect(expectSuccess(one)).toMatchObject({ version: 1, current: false, environment: { STEP: "1" } });
  });

  test.each(["2", "0", "-1", "1.0", "01", "x", "9".repeat(40), "%00"])(
    "GET /v1/functions/:id/versions/%s answers 404",
    async (version) => {
      const reply = await server.api("GET", `/v1/functions/app/versions/${version}`);
      expectError(reply, { status: 404, reason: "not_found" });
      if (version === "2") {
        expect(reply.body.message).toBe(
          'Function "app" has no version 2: the latest is 1, GET /v1/functions/app/versions lists those that are kept',
        );
      }
    },
  );

  test("GET /v1/functions/:id/versions/:version answers 404 once the function is deleted", async () => {
    await server.api("DELETE", "/v1/functions/app");
    const reply = await server.api("GET", `/v1/functions/${fn.id}/versions/1`);
    expectError(reply, { status: 404, reason: "not_found" });
  });
});

describe("POST /v1/functions/:id/rollback", () => {
  test("POST /v1/functions/:id/rollback makes a version like the old one, and keeps the name", async () => {
    await patch({ image: other, environment: { STEP: "2" }, sandbox: "strict", name: "app" });
    await patchOf("app", { name: "renamed" });
    const after = expectSuccess(await rollback({ version: 1 }, "renamed"));
    expect(after).toEqual({ ...fn, name: "renamed", version: 3, updated_at: after.updated_at });
    await patchOf("renamed", { name: "app" });
    expect(await numbers()).toEqual([3, 2, 1]);
    expect((await page()).versions[2]).toMatchObject({ version: 1, environment: { STEP: "1" } });
    expect(expectSuccess(await rollback({ version: 2 }))).toMatchObject({
      version: 4,
      image: other,
      sandbox: "strict",
    });
  });

  test("POST /v1/functions/:id/rollback to the present state makes no version", async () => {
    await patch({ pids: 20 });
    expect(expectSuccess(await rollback({ version: 2 })).version).toBe(2);
    await patch({ pids: 128 });
    expect(expectSuccess(await rollback({ version: 1 })).version).toBe(3);
    expect(await numbers()).toEqual([3, 2, 1]);
  });

  test("POST /v1/functions/:id/rollback many times concurrently makes one version", async () => {
    await patch({ pids: 20 });
    const replies = await Promise.all(Array.from({ length: 20 }, () => rollback({ version: 1 })));
    expect(replies.map((reply) => expectSuccess(reply).version)).toEqual(Array.from({ length: 20 }, () => 3));
    expect(await numbers()).toEqual([3, 2, 1]);
  });

  test.each([
    [{}, 'Missing "version": it must be a whole number of at least 1'],
    [{ version: "1" }, 'Invalid "version": it must be a whole number of at least 1, but it is "1"'],
    [{ version: 0 }, 'Invalid "version": it must be a whole number of at least 1, but it is 0'],
    [{ version: 1.5 }, 'Invalid "version": it must be a whole number of at least 1, but it is 1.5'],
    [{ version: 1, image: "x" }, 'Unknown field "image": expected "version"'],
    [
      { version: 2 },
      'Function "app" has no version 2: the latest is 1, GET /v1/functions/app/versions lists those that are kept',
    ],
  ])("POST /v1/functions/:id/rollback answers 400 to %j", async (body, message) => {
    expectError(await rollback(body), { status: 400, reason: "invalid_request", message });
    expect(await numbers()).toEqual([1]);
  });

  test("POST /v1/functions/:id/rollback answers 404 for an unknown function", async () => {
    expectError(await rollback({ version: 1 }, NOWHERE), { status: 404, reason: "not_found" });
  });

  test("POST /v1/functions/:id/rollback answers 400 when a secret of the version is gone", async () => {
    await server.api("PUT", "/v1/secrets/old", { value: "x" });
    await patch({ secrets: [{ name: "old", environment: null }] });
    await patch({ secrets: [] });
    expectSuccess(await server.api("DELETE", "/v1/secrets/old"));
    expectError(await rollback({ version: 2 }), {
      status: 400,
      reason: "invalid_request",
      message: 'Invalid "secrets": there is no secret "old": PUT /v1/secrets/old first',
    });
  });

  test("POST /v1/functions/:id/rollback answers 400 when the engine no longer has the version's network", async () => {
    const engine = await acquireEngine();
    const network = `slipway-test-${crypto.randomUUID()}`;
    await engine.docker("network", "create", network);
    try {
      await patch({ network });
      await patch({ network: "none" });
    } finally {
      await engine.docker("network", "rm", network);
    }
    const reply = await rollback({ version: 2 });
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(`The engine has no network "${network}"`);
  });

  test("POST /v1/functions/:id/rollback answers 502 when the image is gone and did not come from a registry", async () => {
    const engine = await acquireEngine();
    const local = `slipway-test/rollback:${crypto.randomUUID()}`;
    const container = (await engine.docker("create", image, "x")).trim();
    await engine.docker("commit", container, local);
    await engine.docker("rm", container);
    const { image_id } = await patch({ image: local });
    await patch({ image });
    await engine.docker("rmi", local);
    const reply = await rollback({ version: 2 });
    expectError(reply, { status: 502, reason: "image_unavailable" });
    expect(reply.body.message).toStartWith(
      `Cannot roll back to version 2: Image "${local}" is gone from the engine and came from no registry`,
    );
    expect(image_id).not.toBe(fn.image_id);
    expect(await numbers()).toEqual([3, 2, 1]);
  });
});

describe("version and split of a route", () => {
  const split = { version: 1, percent: 10, sticky_header: "x-user" };
  const create = (body: object) =>
    server.api<Route>("POST", "/v1/routes", { path: "/app", function_id: "app", ...body });

  test("are stored, and changed by PATCH", async () => {
    await patch({ pids: 20 });
    const created = expectSuccess(await create({ version: 2, split }));
    expect(created).toMatchObject({ version: 2, split, function: { version: 2 } });
    const changed = await server.api<Route>("PATCH", `/v1/routes/${created.id}`, { version: null, split: null });
    expect(expectSuccess(changed)).toEqual({ ...created, version: null, split: null });
  });

  test.each<[object, string]>([
    [{ version: 7 }, "has no version 7: the latest is 1"],
    [{ split: { ...split, version: 9 } }, "has no version 9: the latest is 1"],
    [{ version: 1, split }, 'Invalid "split": its "version" is 1, as is the route\'s own'],
    [{ version: 0 }, 'Invalid "version": it must be'],
    [{ version: "1" }, 'Invalid "version": it must be'],
    [{ split: { ...split, percent: 101 } }, 'Invalid "split/percent": it must be'],
    [{ split: { ...split, percent: 0.5 } }, 'Invalid "split/percent": it must be'],
    [{ split: { ...split, sticky_header: "a b" } }, 'Invalid "split/sticky_header": it must be'],
    [{ split: { percent: 5, sticky_header: null } }, 'Missing "split/version": it must be'],
    [{ split: { ...split, weight: 5 } }, 'Unknown field "split/weight"'],
  ])("%j are refused by POST and by PATCH", async (options, message) => {
    const refused = await create(options);
    expectError(refused, { status: 400, reason: "invalid_request" });
    expect(refused.body.message).toContain(message);
    const { id } = expectSuccess(await create({}));
    const unchanged = await server.api("PATCH", `/v1/routes/${id}`, options);
    expectError(unchanged, { status: 400, reason: "invalid_request" });
    expect(unchanged.body.message).toContain(message);
  });

  test("must be given along with another function, whose numbers mean something else", async () => {
    await server.createFunction(image, { name: "second" });
    const { id } = expectSuccess(await create({ version: 1 }));
    const move = (body: object) => server.api<Route>("PATCH", `/v1/routes/${id}`, { function_id: "second", ...body });
    expectError(await move({}), {
      status: 400,
      reason: "invalid_request",
      message: 'The route names a version of its present function: give "version" together with "function_id", or null',
    });
    expectSuccess(await move({ version: null }));
    expectSuccess(await server.api("PATCH", `/v1/routes/${id}`, { function_id: "app" }));
  });
});

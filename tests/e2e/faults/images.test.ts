import { Database as Sqlite } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import { type Engine, acquireEngine } from "../../../.ci/engine/engine.ts";
import { withDirectory } from "../../../.ci/engine/image-tree.ts";
import { requireProgram, runOrThrow } from "../../../.ci/packages.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { type Registry, startRegistry } from "../../support/registry/registry.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { containersBecome } from "../pool/pools.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";

let engine: Engine;
let proxy: EngineProxy;
let registry: Registry;
let server: TestServer;
let pulls: string[];

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
  registry = await startRegistry();
  server = await TestServer.start({ DOCKER_HOST: proxy.host, PULL_TIMEOUT_MS: "10000" });
});

beforeEach(() => {
  pulls = [];
  proxy.change(({ path }) => {
    if (path.startsWith("/images/create")) pulls.push(decodeURIComponent(path));
    return "pass";
  });
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  const images = (
    await engine.docker("images", "-q", "--no-trunc", "--filter", `reference=${registry.host}/*/*`)
  ).split("\n");
  const ours = [...new Set([...images, ...pulled].filter((id) => id !== ""))];
  if (ours.length > 0) await engine.docker("rmi", "-f", ...ours).catch(() => undefined); // tests removed some
});

/** Image ids to clean up; an image that was pulled by digest has no name. */
const pulled: string[] = [];

function create(image: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/v1/functions`, { method: "POST", body: JSON.stringify({ image }), ...init });
}

async function register(image: string): Promise<Function> {
  const fn = await server.createFunction(image);
  pulled.push(fn.image_id ?? "");
  return fn;
}

async function functionsOf(image: string): Promise<Function[]> {
  return (await server.api<Function[]>("GET", "/v1/functions")).body.data.filter((fn) => fn.image === image);
}

/** A name in the registry that no test has used. */
function freshName(): string {
  return `team/f${crypto.randomUUID().slice(0, 8)}:1`;
}

/** Makes an image here, which no registry has, and returns its id. */
async function makeImage(...tags: readonly string[]): Promise<string> {
  const id = await imageWith(engine, await fixture("static"), `LABEL unique=${crypto.randomUUID()}`);
  for (const tag of tags) await engine.docker("tag", id, tag);
  return id;
}

describe("POST /v1/functions pulls a missing image", () => {
  test.each<[string, (reference: string, digest: string) => string]>([
    ["with a tag", (reference) => reference],
    ["with a port and no tag", (reference) => reference.replace(/:1$/, "")],
    ["with a digest", (reference, digest) => reference.replace(/:1$/, `@${digest}`)],
    ["with a tag and a digest", (reference, digest) => `${reference}@${digest}`],
  ])("%s", async (_, spell) => {
    const name = freshName();
    const { reference, digest } = await registry.pushUnique(name);
    if (!/:1|@/.test(spell(reference, digest).slice(registry.host.length))) {
      await engine.docker("pull", "-q", reference);
      await registry.push(reference, name.replace(":1", ""));
      await engine.docker("rmi", "-f", reference);
    }
    const fn = await register(spell(reference, digest));
    expect(fn).toMatchObject({ image: spell(reference, digest), digest: `${reference.replace(/:1$/, "")}@${digest}` });
    expect(pulls.length).toBe(1);
    // Without an explicit tag the engine would pull all tags.
    expect(pulls[0]).toMatch(/tag=[^&]+/);
    expect((await server.invoke(fn)).status).toBe(200);
  });

  test("and finds an existing one, however Docker Hub's names are spelled", async () => {
    const tag = crypto.randomUUID();
    await engine.docker("tag", await fixture("static"), `slipway-test/hub:${tag}`);
    for (const spelling of ["slipway-test/hub", "docker.io/slipway-test/hub", "index.docker.io/slipway-test/hub"]) {
      expect((await server.createFunction(`${spelling}:${tag}`)).digest).toBeNull();
    }
    expect(pulls).toEqual([]);
    await engine.docker("rmi", `slipway-test/hub:${tag}`);
  });

  test("once for 100 concurrent requests, and a client that disconnects does not cancel it for the others", async () => {
    const { reference } = await registry.pushUnique(freshName());
    await using _health = watchHealth(server.url);
    const leaving = new AbortController();
    const asked = proxy.next(({ path }) => path.startsWith("/images/create"));
    const gone = create(reference, { signal: leaving.signal }).catch(() => undefined);
    const all = Array.from({ length: 99 }, () => create(reference));
    await asked;
    leaving.abort();
    expect(await gone).toBeUndefined();
    expect(new Set((await Promise.all(all)).map(({ status }) => status))).toEqual(new Set([201]));
    expect(pulls.length).toBe(1);
    pulled.push((await functionsOf(reference))[0]?.image_id ?? "");
  });
});

describe("POST /v1/functions registers nothing when the pull fails", () => {
  test.each<[string, () => Promise<string>, Reason, RegExp]>([
    [
      "manifest missing",
      async () => `${registry.host}/team/nothing:9`,
      "image_not_found",
      /the registry has no such image .*Check the name and the tag/,
    ],
    [
      "nothing listens",
      async () => "127.0.0.1:9/team/nothing:1",
      "image_unavailable",
      /connection refused.*Check that the registry can be reached/,
    ],
    [
      "no such host",
      async () => "registry.invalid/team/nothing:1",
      "image_unavailable",
      /Cannot pull image "registry\.invalid/,
    ],
    ["blob missing", () => broken("missing"), "image_unavailable", /Cannot pull image/],
    ["blob corrupt", () => broken("corrupt"), "image_unavailable", /Cannot pull image/],
  ])("%s", async (_, image, reason, message) => {
    const reference = await image();
    await expectProblem(await create(reference), reason, message);
    expect(await functionsOf(reference)).toEqual([]);
  });

  test("wrong credentials", async () => {
    await using closed = await startRegistry({ username: "someone", password: "secret" });
    const { reference } = await closed.pushUnique("team/private:1");
    await expectProblem(
      await create(reference),
      "registry_denied",
      /the registry refused .*private images need credentials/,
    );
    expect(await functionsOf(reference)).toEqual([]);
  });

  test.each<[string, { readonly cut: number } | "hang" | "garbage"]>([
    ["the progress is cut", { cut: 400 }],
    ["the engine sends garbage", "garbage"],
    ["the engine never answers", "hang"],
  ])("%s", async (_, fault) => {
    const { reference } = await registry.pushUnique(freshName());
    await using impatient = await TestServer.start({ DOCKER_HOST: proxy.host, PULL_TIMEOUT_MS: "1000" });
    proxy.change(({ path }) => (path.startsWith("/images/create") ? fault : "pass"));
    const response = await fetch(`${impatient.url}/v1/functions`, {
      method: "POST",
      body: JSON.stringify({ image: reference }),
    });
    expect([502, 503]).toContain(response.status);
    await expectProblem(response, response.status === 502 ? "image_unavailable" : "engine_unavailable");
    expect((await impatient.api("GET", "/v1/functions")).body.data).toEqual([]);
  });
});

async function broken(how: "missing" | "corrupt"): Promise<string> {
  const pushed = await registry.pushUnique(freshName());
  await registry.breakBlob(pushed, how);
  return pushed.reference;
}

describe("a function keeps the image that it was registered with", () => {
  test("although its tag moved, until POST /v1/functions/:id/pull", async () => {
    const name = freshName();
    const first = await registry.pushUnique(name);
    const fn = await register(first.reference);
    const second = await registry.pushUnique(name);
    // A pull by hand moves the tag on the engine too.
    await engine.docker("pull", "-q", first.reference);
    const call = server.invoke(fn, { do: "sleep", ms: 1_000 });
    const moved = await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`);
    pulled.push(moved.body.data.image_id ?? "");
    expect(moved.body.data.digest).toBe(`${first.reference.replace(/:1$/, "")}@${second.digest}`);
    const [before, after] = [await call, await server.invoke(fn)];
    const imageOf = async (response: Response) =>
      (await server.invocation(response.headers.get("x-request-id") ?? "")).image_id;
    expect([before.status, await imageOf(before)]).toEqual([200, fn.image_id]);
    expect([after.status, await imageOf(after)]).toEqual([200, moved.body.data.image_id]);
    expect(moved.body.data.image_id).not.toBe(fn.image_id);
  });
});

describe("an image that was only made here is looked up again, although its engine shows a digest for it", () => {
  test.each<[string, () => string]>([
    ["with a short name", () => `slipway-test/made:${crypto.randomUUID()}`],
    ["with the name of a registry that is away", () => `127.0.0.1:9/team/made:${crypto.randomUUID()}`],
    ["with the name of a registry that does not have it", () => `${registry.host}/team/made:${crypto.randomUUID()}`],
  ])("%s", async (_, name) => {
    const reference = name();
    const [first, second] = [await makeImage(reference), await makeImage()];
    const fn = await server.createFunction(reference);
    expect(fn).toMatchObject({ image_id: first, digest: null });
    await engine.docker("tag", second, reference);
    const moved = await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`);
    expect(moved).toMatchObject({ status: 200, body: { data: { image_id: second, digest: null } } });
    await engine.docker("tag", first, reference);
    const manifest = { version: 1, functions: { [`f${fn.id.slice(0, 8)}`]: { image: reference } } };
    for (const image_id of [first, second]) {
      await engine.docker("tag", image_id, reference);
      const applied = await server.api("POST", "/v1/apply", { manifest, pull: true });
      expect(applied.status).toBe(200);
      expect((await functionsOf(reference)).at(-1)).toMatchObject({ image_id, digest: null });
    }
    expect(pulls).toEqual([]);
    await engine.docker("rmi", "-f", first, second);
  });

  test("also under a name that its registry has for another image, which does not replace it", async () => {
    const { reference } = await registry.pushUnique(freshName());
    const fn = await register(reference);
    const own = await makeImage(reference);
    pulls = [];
    const moved = await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`);
    expect(moved).toMatchObject({ status: 200, body: { data: { image_id: own, digest: null } } });
    expect(pulls).toEqual([]);
    await engine.docker("rmi", "-f", own);
  });

  test("but one that somebody else has pulled keeps its registry's digest, and is pulled again", async () => {
    const name = freshName();
    const first = await registry.pushUnique(name);
    await engine.docker("pull", "-q", first.reference);
    const fn = await register(first.reference);
    expect(fn.digest).toBe(`${first.reference.replace(/:1$/, "")}@${first.digest}`);
    const second = await registry.pushUnique(name);
    const moved = await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`);
    expect(moved.body.data.digest).toBe(`${first.reference.replace(/:1$/, "")}@${second.digest}`);
    pulled.push(moved.body.data.image_id ?? "");
  });
});

test("an image that the engine has under another id, in another image store, is found by its digest", async () => {
  const { reference } = await registry.pushUnique(freshName());
  await using before = await TestServer.start({ DOCKER_HOST: proxy.host });
  const fn = await before.createFunction(reference);
  await before.api("PATCH", `/v1/functions/${fn.id}`, { environment: { STEP: "2" } });
  pulled.push(fn.image_id ?? "");
  await before.stop(0);
  setImageIds(before.dataPath, `sha256:${"0".repeat(64)}`);
  await using after = await TestServer.start({ DOCKER_HOST: proxy.host, DATA_PATH: before.dataPath });
  pulls = [];
  const calls = Array.from({ length: 5 }, () => after.invoke(fn));
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  const shown = await after.api<Function>("GET", `/v1/functions/${fn.id}`);
  expect(shown.body.data).toMatchObject({ image_id: fn.image_id, digest: fn.digest, version: 2 });
  const rolledBack = await after.api<Function>("POST", `/v1/functions/${fn.id}/rollback`, { version: 1 });
  expect(rolledBack.body.data).toMatchObject({ image_id: fn.image_id, digest: fn.digest, version: 3 });
  expect((await after.invoke(fn)).status).toBe(200);
  expect(pulls).toEqual([]);
});

describe("an image from no registry that the engine has under another id, in another image store", () => {
  test("is found by its name, if `docker save` and `docker load` have moved it", async () => {
    const reference = `slipway-test/moved:${crypto.randomUUID()}`;
    await makeImage(reference);
    const [loaded, older] = await saveAndLoad(reference);
    await using before = await TestServer.start({ DOCKER_HOST: proxy.host });
    const fn = await before.createFunction(reference);
    expect(fn).toMatchObject({ image_id: loaded, digest: null });
    await before.stop(0);
    setImageIds(before.dataPath, older);
    const read = countArchives();
    await using after = await TestServer.start({ DOCKER_HOST: proxy.host, DATA_PATH: before.dataPath });
    const calls = Array.from({ length: 5 }, () => after.invoke(fn));
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const shown = await after.api<Function>("GET", `/v1/functions/${fn.id}`);
    expect(shown.body.data).toMatchObject({ image_id: loaded, digest: null, version: 1 });
    // The older store's id is the digest of the configuration, so that nothing was moved there.
    expect(read()).toBe(loaded === older ? 0 : 1);
    await after.api("DELETE", `/v1/functions/${fn.id}`);
    await containersBecome(0, fn);
    await engine.docker("rmi", "-f", loaded);
  });

  test("is not taken for another one of its name, which is read once", async () => {
    const reference = `slipway-test/moved:${crypto.randomUUID()}`;
    const id = await makeImage(reference);
    const isOlder = (await saveAndLoad(reference))[1] === id;
    await using before = await TestServer.start({ DOCKER_HOST: proxy.host });
    const fn = await before.createFunction(reference);
    await before.stop(0);
    setImageIds(before.dataPath, `sha256:${"0".repeat(64)}`);
    const read = countArchives();
    await using after = await TestServer.start({ DOCKER_HOST: proxy.host, DATA_PATH: before.dataPath });
    for (let call = 1; call <= 3; call++) {
      await expectProblem(await after.invoke(fn), "image_unavailable", /came from no registry: build it again/);
    }
    expect(read()).toBe(isOlder ? 0 : 1);
    await after.api("DELETE", `/v1/functions/${fn.id}`);
    await engine.docker("rmi", "-f", reference);
  });
});

/** Moves an image as to another engine. Returns its id here, and the one that Docker's older image store gives it. */
async function saveAndLoad(reference: string): Promise<readonly [here: string, older: string]> {
  return withDirectory(async (directory) => {
    const archive = `${directory}/image.tar`;
    await engine.docker("save", "-o", archive, reference);
    await engine.docker("rmi", "-f", reference);
    await engine.docker("load", "-i", archive);
    const manifest = await runOrThrow([requireProgram("tar"), "-xOf", archive, "manifest.json"]);
    const config = /"Config":"(?:blobs\/sha256\/)?([0-9a-f]{64})/.exec(manifest)?.[1] ?? "";
    return [(await engine.docker("image", "inspect", "-f", "{{.Id}}", reference)).trim(), `sha256:${config}`];
  });
}

/** Gives all functions an image id, as in the database of a server whose engine had the other store. */
function setImageIds(dataPath: string, id: string): void {
  const database = new Sqlite(`${dataPath}/database.db`);
  database.run("update functions set image_id = ?", [id]);
  database.run("update versions set image_id = ?1, record = json_set(record, '$.image_id', ?1)", [id]);
  database.close();
}

/** Counts the images that the server reads from now on. */
function countArchives(): () => number {
  let count = 0;
  proxy.change(({ path }) => {
    if (/^\/images\/[^/]+\/get\b/.test(path)) count++;
    return "pass";
  });
  return () => count;
}

describe("an image removed behind our back", () => {
  test("is pulled again, once for 20 calls", async () => {
    const { reference } = await registry.pushUnique(freshName());
    const fn = await register(reference);
    await engine.docker("rmi", "-f", fn.image_id ?? "");
    pulls = [];
    const calls = Array.from({ length: 20 }, () => server.invoke(fn));
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200));
    expect(pulls.length).toBe(1);
    expect((await server.api<Function>("GET", `/v1/functions/${fn.id}`)).body.data).toMatchObject(fn);
  });

  test("is a 502 if its registry is gone", async () => {
    const brief = await startRegistry();
    const { reference } = await brief.pushUnique("team/brief:1");
    const fn = await server.createFunction(reference);
    await brief.stop();
    await engine.docker("rmi", "-f", fn.image_id ?? "");
    await expectProblem(
      await server.invoke(fn),
      "image_unavailable",
      /is gone from the engine and cannot be pulled again/,
    );
  });

  test("is a 502 if it did not come from a registry", async () => {
    const tag = `slipway-test/local:${crypto.randomUUID()}`;
    const container = (await engine.docker("create", await fixture("static"))).trim();
    await engine.docker("commit", "--message", tag, container, tag);
    await engine.docker("rm", container);
    const fn = await server.createFunction(tag);
    expect((await server.invoke(fn)).status).toBe(200);
    // An image that a container uses would only lose its name.
    await containersBecome(0, fn);
    await engine.docker("rmi", "-f", tag);
    await expectProblem(await server.invoke(fn), "image_unavailable", /came from no registry: build it again/);
  });
});

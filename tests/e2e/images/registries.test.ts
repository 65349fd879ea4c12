import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Registry, RegistryImport } from "../../../lib/domain/images/registries.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { findProgram, runOrThrow } from "../../../.ci/packages.ts";
import { type Pushed, type Registry as TestRegistry, startRegistry } from "../../support/registry/registry.ts";
import { TestServer } from "../../support/server.ts";

// With characters that a header, JSON, a URL and a configuration file each encode differently.
const CREDENTIALS = { username: "someone", password: 'p:ä "s+/?w%20' } as const;
const WRONG = 'wr"ong+sesame';
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
/** Nothing listens there. */
const AWAY = "127.0.0.1:9";

let engine: Engine;
let proxy: EngineProxy;
let registry: TestRegistry;
let server: TestServer;
let pushed: Pushed;

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
  registry = await startRegistry(CREDENTIALS);
  server = await TestServer.start({ DOCKER_HOST: proxy.host });
  pushed = await registry.pushUnique("team/private:1");
});

beforeEach(async () => {
  await server.api("DELETE", `/v1/registries/${registry.host}`);
});

afterEach(async () => {
  await engine.docker("rmi", "-f", pushed.reference).catch(() => undefined); // few tests pull it
  const said = server.log.join("\n");
  for (const secret of [CREDENTIALS.password, WRONG]) {
    for (const form of [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
      expect(said).not.toContain(form);
    expect(said).not.toContain(Buffer.from(`${CREDENTIALS.username}:${secret}`).toString("base64"));
  }
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

function put(body: object, query = "", host = registry.host) {
  return server.api<Registry>("PUT", `/v1/registries/${host}${query}`, body);
}

function create(image = pushed.reference) {
  return server.api<Function>("POST", "/v1/functions", { image });
}

async function storedHosts(): Promise<string[]> {
  return expectSuccess(await server.api<Registry[]>("GET", "/v1/registries")).map(({ host }) => host);
}

describe("the image of a private registry", () => {
  test("is refused without credentials, with advice, and pulled with them", async () => {
    const refused = await create();
    expectError(refused, { status: 400, reason: "registry_denied" });
    expect(refused.body.message).toMatch(
      new RegExp(
        `^Cannot pull image "${pushed.reference}": the registry refused \\(.*no basic auth credentials\\)\\. Check the name; ` +
          `private images need credentials: PUT /v1/registries/${registry.host} with "username" and "password"\\.$`,
      ),
    );
    const { host } = registry;
    expect(expectSuccess(await put(CREDENTIALS), 201)).toEqual({
      host,
      kind: "password",
      username: "someone",
      checked_at: TIME,
      created_at: TIME,
      updated_at: TIME,
    });
    const fn = await server.createFunction(pushed.reference);
    expect(fn.digest).toBe(`${registry.host}/team/private@${pushed.digest}`);
    expect((await server.invoke(fn)).status).toBe(200);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
  });

  test("is pulled again with them when the engine has lost it", async () => {
    expectSuccess(await put(CREDENTIALS), 201);
    const fn = await server.createFunction(pushed.reference);
    await engine.docker("rmi", "-f", fn.image_id ?? "");
    expect((await server.invoke(fn)).status).toBe(200);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
  });

  test("is refused with wrong stored credentials until they are changed", async () => {
    expectSuccess(await put({ ...CREDENTIALS, password: WRONG }, "?check=false"), 201);
    const refused = await create();
    expectError(refused, { status: 400, reason: "registry_denied" });
    expect(refused.body.message).toMatch(
      new RegExp(
        `the registry refused the stored credentials for "${registry.host}" \\(.*\\)\\. Check the name and that ` +
          `they may pull it; PUT /v1/registries/${registry.host} changes them\\.$`,
      ),
    );
    expectSuccess(await put(CREDENTIALS), 200);
    const { id } = expectSuccess(await create(), 201);
    await server.api("DELETE", `/v1/functions/${id}`);
  });

  test("is pulled with new credentials while a pull with the old ones continues", async () => {
    expectSuccess(await put({ ...CREDENTIALS, password: WRONG }, "?check=false"), 201);
    const isPull = ({ path }: { path: string }) => path.startsWith("/images/create");
    proxy.change((request) => (isPull(request) ? "hang" : "pass"));
    const asked = proxy.next(isPull);
    const first = create();
    await asked;
    proxy.change("pass");
    expectSuccess(await put(CREDENTIALS), 200);
    const { id } = expectSuccess(await create(), 201);
    proxy.use("pass"); // closes the connection of the first
    expectError(await first, { status: 503, reason: "engine_unavailable" });
    await server.api("DELETE", `/v1/functions/${id}`);
  });

  test("is distinguished from a missing image and from a registry that does not answer", async () => {
    expectSuccess(await put(CREDENTIALS), 201);
    const missing = await create(`${registry.host}/team/nothing:9`);
    expectError(missing, { status: 400, reason: "image_not_found" });
    expect(missing.body.message).toMatch(/the registry has no such image .*Check the name and the tag\.$/);
    const away = await create(`${AWAY}/team/private:1`);
    expectError(away, { status: 502, reason: "image_unavailable" });
    expect(away.body.message).toMatch(/connection refused\. Check that the registry can be reached from the engine\.$/);
  });

  test("is refused with an identity token that the registry does not know, which is never shown", async () => {
    expectError(await put({ identity_token: WRONG }), { status: 400, reason: "registry_denied" });
    expect(expectSuccess(await put({ identity_token: WRONG }, "?check=false"), 201)).toMatchObject({
      kind: "identity_token",
      username: null,
      checked_at: null,
    });
    const refused = await create();
    expectError(refused, { status: 400, reason: "registry_denied" });
    expect(refused.body.message).toContain(`the registry refused the stored credentials for "${registry.host}"`);
  });
});

describe("PUT /v1/registries/:host checks with the registry, and stores nothing", () => {
  test("if it refuses the credentials", async () => {
    const refused = await put({ ...CREDENTIALS, password: WRONG });
    expectError(refused, { status: 400, reason: "registry_denied" });
    expect(refused.body.message).toMatch(
      new RegExp(
        `^Cannot log in to the registry "${registry.host}": it refused the username "someone" with this password ` +
          `\\(.*401 Unauthorized.*\\)\\. Nothing was stored\\. Check what you sent\\.$`,
      ),
    );
    expect(JSON.stringify(refused.body)).not.toContain("sesame");
    expect(await storedHosts()).toEqual([]);
  });

  test("if it does not answer, except with check=false", async () => {
    const away = await put(CREDENTIALS, "", AWAY);
    expectError(away, { status: 502, reason: "registry_unavailable" });
    expect(away.body.message).toMatch(
      /^Cannot log in to the registry "127\.0\.0\.1:9": .*connection refused\. Nothing was stored\. Check the host, and that the engine can reach it; \?check=false stores the credentials all the same\.$/,
    );
    expect(await storedHosts()).toEqual([]);
    expect(expectSuccess(await put(CREDENTIALS, "?check=false", AWAY), 201).checked_at).toBeNull();
    expectSuccess(await server.api("DELETE", `/v1/registries/${AWAY}`));
  });

  test("if the stored credentials are right and the new ones wrong", async () => {
    expectSuccess(await put(CREDENTIALS), 201);
    expectError(await put({ ...CREDENTIALS, password: WRONG }), { status: 400, reason: "registry_denied" });
    const { id } = expectSuccess(await create(), 201);
    await server.api("DELETE", `/v1/functions/${id}`);
  });
});

describe("POST /v1/registries/import", () => {
  test("imports what `docker login` wrote, and lists what it skipped", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-login-"));
    try {
      const docker = [findProgram("docker") ?? "docker", "-H", engine.host, "--config", directory];
      const login = [...docker, "login", "--username", CREDENTIALS.username, "--password-stdin", registry.host];
      await runOrThrow(login, new Blob([CREDENTIALS.password]));
      const config: object = await Bun.file(join(directory, "config.json")).json();
      const auths: object = "auths" in config && typeof config.auths === "object" ? (config.auths ?? {}) : {};
      const wrong = Buffer.from(`someone:${WRONG}`).toString("base64");
      const reply = await server.api<RegistryImport>("POST", "/v1/registries/import", {
        ...config,
        auths: { ...auths, [`http://${registry.host}/v2/`]: { auth: wrong }, [AWAY]: { auth: wrong } },
        credHelpers: { "gcr.io": "gcloud" },
      });
      const { imported, skipped } = expectSuccess(reply);
      expect(imported).toEqual([
        expect.objectContaining({ host: registry.host, username: "someone", kind: "password", checked_at: TIME }),
      ]);
      expect(skipped).toEqual([
        { entry: `http://${registry.host}/v2/`, problem: `the entry "${registry.host}" is for the same registry` },
        {
          entry: "gcr.io",
          problem: 'its credentials are not in the file, but in the helper "gcloud"; PUT /v1/registries/gcr.io instead',
        },
        { entry: AWAY, problem: expect.stringMatching(/connection refused/) },
      ]);
      expect(JSON.stringify(reply.body)).not.toContain("sesame");
      expect(await storedHosts()).toEqual([registry.host]);
    } finally {
      await rm(directory, { recursive: true });
    }
    const fn = await server.createFunction(pushed.reference);
    expect((await server.invoke(fn)).status).toBe(200);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
  });
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, isWarm, pool, warmServer } from "../pool/pools.ts";

// Issue 10, C: named volumes

let engine: Engine;
let image: string;
let server: TestServer;
const volumes: string[] = [];
const images: string[] = [];

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
  server = await TestServer.start();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await containersBecome(0);
  for (const name of volumes) await engine.docker("volume", "rm", "--force", name);
  for (const one of images) await engine.docker("rmi", "--no-prune", one);
});

/** Returns the name of a volume that is removed after the tests; the engine does not have it yet. */
function newVolume(): string {
  const name = `slipway-test-${crypto.randomUUID()}`;
  volumes.push(name);
  return name;
}

/** Makes a function that runs a script and answers with what that prints. */
function script(text: string, settings: Partial<Function>, from = image, on = server): Promise<Function> {
  const entrypoint = ["sh", "-c", `{ ${text}; } > "$CONTEXT_PATH/response.body" 2>&1`];
  return on.createFunction(from, { warm_max: 0, ...settings, entrypoint });
}

async function call(fn: Function, on = server): Promise<string> {
  const response = await on.invoke(fn, "{}");
  const text = await response.text();
  expect([response.status, text]).toEqual([200, text]);
  return text.trim();
}

test("functions share a volume, which the engine creates, and which outlives them", async () => {
  const name = newVolume();
  const writable = { volumes: [{ name, path: "/var/lib/data", read_only: false }] };
  const readable = { volumes: [{ name, path: "/data", read_only: true }] };
  const add = await script(
    "echo line >> /var/lib/data/file; chmod 666 /var/lib/data/file; wc -l < /var/lib/data/file",
    writable,
  );
  const read = "cat /data/file; echo more >> /data/file; touch /data/other; true";
  const [usual, strict] = await Promise.all([script(read, readable), script(read, { ...readable, sandbox: "strict" })]);
  expect(await call(add)).toBe("1");
  expect(await call(add)).toBe("2");
  for (const said of await Promise.all([call(usual), call(strict)])) {
    expect(said).toStartWith("line\nline\n");
    expect(said.match(/Read-only file system/g)).toHaveLength(2);
  }
  for (const fn of [add, usual, strict])
    expect((await server.api("DELETE", `/v1/functions/${fn.id}`)).status).toBe(200);
  const labels = JSON.parse(await engine.docker("volume", "inspect", "--format", "{{json .Labels}}", name)) as object; // by the format
  expect(Object.keys(labels)).toEqual(["slipway.volume"]);
  expect(await call(await script("cat /data/file", readable))).toBe("line\nline");
});

test("a volume stays as it is in a container that serves more calls, also in place of an image's VOLUME", async () => {
  const own = await imageWith(engine, image, "VOLUME /data");
  images.push(own);
  await using warm = await warmServer();
  const settings = { volumes: [{ name: newVolume(), path: "/data", read_only: false }], max_calls: 0, warm_max: 1 };
  const fn = await script("touch /tmp/left; echo x >> /data/file; hostname; wc -l < /data/file", settings, own, warm);
  const said: string[] = [];
  for (let n = 0; n < 3; n++) {
    await pool(warm, fn, isWarm);
    said.push(await call(fn, warm));
  }
  const [host] = said[0]?.split("\n") ?? [];
  expect(said).toEqual([1, 2, 3].map((count) => `${host}\n${count}`));
  // The root can be read-only, where the image's volume would be a tmpfs.
  expect(
    await call(await script("echo x >> /data/file; wc -l < /data/file", { ...settings, read_only: true }, own)),
  ).toBe("4");
});

test("an empty volume gets what the image has at its path, but not one that can only be read", async () => {
  const [copied, empty] = [newVolume(), newVolume()];
  const at = (name: string, read_only: boolean) => ({ volumes: [{ name, path: "/usr/bin", read_only }] });
  const shell = { entrypoint: ["/bin/sh", "-c", 'ls /usr/bin | wc -l > "$CONTEXT_PATH/response.body"'], warm_max: 0 };
  const full = await server.createFunction(image, { ...shell, ...at(copied, false) });
  const none = await server.createFunction(image, { ...shell, ...at(empty, true) });
  expect(Number(await call(full))).toBeGreaterThan(0);
  expect(Number(await call(none))).toBe(0);
});

test("volumes that can be written to are not for `strict`, nor can one be Slipway's or of the host", async () => {
  const [bind, mine] = [newVolume(), newVolume()];
  await engine.docker("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", "device=/etc", bind);
  await engine.docker("volume", "create", "--label", "slipway.gate=other", mine);
  const refused = async (volume: object, more: object = {}) => {
    const { status, body } = await server.api("POST", "/v1/functions", { image, volumes: [volume], ...more });
    expect([status, body.reason]).toEqual([400, "invalid_request"]);
    return body.message;
  };
  expect(await refused({ name: bind, path: "/data" })).toContain("options name a device or a path");
  expect(await refused({ name: mine, path: "/data", read_only: true })).toContain("Slipway's own");
  expect(await refused({ name: "ab", path: "/data" }, { sandbox: "strict" })).toContain("is writable");
  expect(await refused({ name: "/etc", path: "/data" })).toStartWith('Invalid "volumes/0/name"');
  expect(await refused({ name: "ab", path: "/.slipway/x" })).toContain("which Slipway uses itself");
  expect(await refused({ name: "ab", path: "/data", source: "/etc" })).toStartWith('Unknown field "volumes/0/source"');
  // The volume with our gate has our label, whatever its name.
  const gate = (await engine.docker("volume", "ls", "--quiet", "--filter", "label=slipway.gate")).trim().split("\n");
  for (const name of gate) expect(await refused({ name, path: "/data" })).toContain("Slipway's own");
});

test("a volume that somebody makes of a host's path after registration is refused at the start", async () => {
  const name = newVolume();
  const fn = await script("ls /data", { volumes: [{ name, path: "/data", read_only: false }] });
  await engine.docker("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", "device=/etc", name);
  const response = await server.invoke(fn, "{}");
  expect(response.status).toBe(502);
  expect(await response.json()).toMatchObject({
    reason: "entrypoint_failed",
    message: expect.stringContaining(`a function cannot have the volume "${name}"`),
  });
});

test("volumes are part of versions and manifests", async () => {
  const name = newVolume();
  const fn = await script("ls /a /b 2>/dev/null", {});
  const path = `/v1/functions/${fn.id}`;
  const changed = await server.api<Function>("PATCH", path, { volumes: [{ name, path: "/a" }] });
  expect(changed.body.data).toMatchObject({ version: 2, volumes: [{ name, path: "/a", read_only: false }] });
  const refused = await server.api("PATCH", path, { sandbox: "strict" });
  expect([refused.status, refused.body.message]).toEqual([400, expect.stringContaining(`"${name}" is writable`)]);
  const back = await server.api<Function>("POST", `${path}/rollback`, { version: 1 });
  expect(back.body.data).toMatchObject({ version: 3, volumes: [] });
  const forth = await server.api<Function>("POST", `${path}/rollback`, { version: 2 });
  expect(forth.body.data).toMatchObject({ version: 4, volumes: [{ name, path: "/a", read_only: false }] });
  const exported = await fetch(`${server.url}/v1/export`);
  expect(await exported.text()).toContain(name);
});

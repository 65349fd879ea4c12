import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { gateBinary } from "../../../lib/docker/containers/gate-binary.ts";
import { type Engine, acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture, printedBy } from "../../support/images.ts";
import { containersLeft, TestServer } from "../../support/server.ts";

/** The last line that a shell prints. */
const END = "that is all";

let engine: Engine;
let proxy: EngineProxy;
let volume: string;

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
});

beforeEach(() => {
  volume = `slipway-test-${crypto.randomUUID()}`;
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
  await engine.docker("volume", "rm", "-f", volume);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

function startServer(): Promise<TestServer> {
  return TestServer.start({ CONTEXT_NAME: volume, DOCKER_HOST: proxy.host });
}

/** Runs a shell in a container with the volume at /v. */
async function inVolume(script: string): Promise<string> {
  const shell = ["--network", "none", "-v", `${volume}:/v`, "--entrypoint", "sh", await fixture("chaos"), "-c"];
  const printed = await printedBy(engine, ...shell, `${script}\necho ${END}`);
  return printed.slice(0, -END.length).trim();
}

async function gateName(): Promise<string> {
  return (await gateBinary((await engine.docker("info", "--format", "{{.Architecture}}")).trim())).name;
}

test("a removed gate volume is created and filled again by the next calls, once", async () => {
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  expect(await containersLeft()).toEqual([]);
  await engine.docker("volume", "rm", volume);
  const fills: string[] = [];
  proxy.change(({ method, path }) => {
    if (method === "PUT") fills.push(path);
    return "pass";
  });
  const calls = await Promise.all([1, 2, 3, 4].map(() => server.invoke(fn)));
  expect(calls.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(fills.length).toBe(1);
  expect(await inVolume("ls /v")).toBe(await gateName());
});

test("gates of two versions coexist, and only ours is written", async () => {
  await inVolume("echo another > /v/gate-0123456789abcdef");
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  expect(await inVolume("cat /v/gate-0123456789abcdef")).toBe("another");
  expect((await inVolume("ls /v")).split("\n").toSorted()).toEqual(
    ["gate-0123456789abcdef", await gateName()].toSorted(),
  );
});

test.each<[string, (name: string, bytes: number) => string]>([
  ["of another length", (name) => `echo garbage > /v/${name}`],
  [
    "of the right length, as a power cut leaves it",
    (name, bytes) => `head -c ${bytes} /dev/zero > /v/${name}; chmod 755 /v/${name}`,
  ],
  ["a link", (name) => `ln -s /bin/busybox /v/${name}`],
])("garbage under the gate's name is replaced: %s", async (_, spoil) => {
  const { name, bytes } = await gateBinary((await engine.docker("info", "--format", "{{.Architecture}}")).trim());
  await inVolume(spoil(name, bytes.length));
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  expect(await inVolume(`sha256sum < /v/${name}`)).toBe(
    `${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}  -`,
  );
});

test.each([
  ["lost", "rm /v/*"],
  ["overwritten by another program", "for f in /v/*; do cat /bin/busybox > $f; done"],
])("a gate that is %s while the server runs is put back by the call that finds it so", async (_, spoil) => {
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  expect(await containersLeft()).toEqual([]);
  await inVolume(spoil);
  expect((await server.invoke(fn)).status).toBe(200);
  expect((await server.invoke(fn)).status).toBe(200);
});

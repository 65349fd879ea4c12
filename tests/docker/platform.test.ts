import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type Engine, acquireEngine } from "../../.ci/engine/engine.ts";
import { systemClock } from "../../lib/clock.ts";
import { DockerPlatform } from "../../lib/docker/docker-platform.ts";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { createLogger } from "../../lib/log.ts";
import { Metrics } from "../../lib/metrics.ts";
import { GateConversation } from "../../lib/runner/gate-protocol/conversation.ts";
import type { Channel } from "../../lib/runner/platform.ts";
import { failureOf, functionOf } from "../runner/pool/fake-instances.ts";
import { fixture } from "../support/images.ts";
import { containersLeft } from "../support/server.ts";

const NEVER = new AbortController().signal;

let engine: Engine;
let platform: DockerPlatform;
let available: PromiseWithResolvers<void>;
let swept: PromiseWithResolvers<void>;
const lostGroups: string[] = [];

beforeAll(async () => {
  engine = await acquireEngine();
  available = Promise.withResolvers();
  swept = Promise.withResolvers();
  platform = new DockerPlatform({
    owner: crypto.randomUUID(),
    engine: { socketPath: engine.socket },
    engine_timeout_ms: 20_000,
    pull_timeout_ms: 20_000,
    context_name: "slipway-test-platform",
    context_path: "/tmp/context",
    credentialsFor: () => undefined,
    allCredentials: () => [],
    build_bytes: 1024,
    build_timeout_ms: 10_000,
    onPulled: () => Promise.resolve(),
    pulledNames: () => [],
    onImageRenamed: () => Promise.resolve(),
    shared: null,
    clock: systemClock,
    log: createLogger({ level: "error", format: "json", clock: systemClock, write: () => undefined }),
    metrics: new Metrics(),
  });
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await platform[Symbol.asyncDispose]();
  await engine.docker("volume", "rm", "-f", "slipway-test-platform");
});

async function someFunction(settings: Partial<Function> = {}): Promise<Function> {
  const image = await fixture("static");
  return functionOf("a", { image, ...(await platform.images.resolve(image, {})), ...settings });
}

/** Reads a channel until its gate says READY; `ended` settles with the reason when the other side closes it. */
function greet(channel: Channel) {
  const conversation = new GateConversation();
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<string>();
  channel.read({
    onBytes: (bytes) => {
      for (const { type } of conversation.push(bytes)) if (type === "ready") ready.resolve();
    },
    onEnd: ended.resolve,
    onBroken: ready.reject,
  });
  return { ready: ready.promise, ended: ended.promise };
}

test("Platform launches nothing before it is started, and says why", async () => {
  expect(platform.health.problem?.reason).toBe("engine_unavailable");
  platform.start({
    onAvailable: () => available.resolve(),
    onGroupLost: (group) => lostGroups.push(group),
    onSwept: () => swept.resolve(),
  });
  await Promise.all([platform.health.settled, available.promise, swept.promise]);
  expect(platform.health.problem).toBeUndefined();
  expect(await platform.health.probe()).toBeUndefined();
});

test("Platform.launch connects to a gate, and closing the channel ends the instance", async () => {
  const channel = await platform.launch(await someFunction(), "a@1", NEVER);
  await greet(channel).ready;
  expect(channel.command.length).toBeGreaterThan(0);
  channel.close();
  await channel.gone();
});

test("Platform.launch returns channels that explain an end from outside", async () => {
  const channel = await platform.launch(await someFunction(), "a@1", NEVER);
  const { ready, ended } = greet(channel);
  await ready;
  await engine.docker("kill", channel.id);
  await ended;
  expect(await channel.ended()).toEqual({ how: "died" });
  await channel.gone();
});

test("Platform.launch starts an instance that shares nothing in the network of its function, with no holder", async () => {
  for (const network of ["bridge", "none"]) {
    const channel = await platform.launch(await someFunction({ network }), "a@1", NEVER);
    await greet(channel).ready;
    const ids = (await engine.docker("ps", "-q", "--no-trunc")).trim().split("\n");
    expect(ids).toEqual([channel.id]);
    const mode = await engine.docker("inspect", "--format", "{{.HostConfig.NetworkMode}}", channel.id);
    expect(mode.trim()).toBe(network);
    channel.close();
    await channel.gone();
  }
});

test("Platform reports a group whose shared part is lost, and releases it with its last instance", async () => {
  const fn = await someFunction({ share_network: true });
  const channels = await Promise.all([1, 2].map(() => platform.launch(fn, "shared@1", NEVER)));
  const greeted = channels.map(greet);
  await Promise.all(greeted.map(({ ready }) => ready));
  const ids = (await engine.docker("ps", "-q", "--no-trunc")).trim().split("\n");
  const holder = ids.filter((id) => !channels.some((channel) => channel.id === id));
  expect(holder).toHaveLength(1);
  await engine.docker("kill", ...holder);
  for (const channel of channels) channel.close();
  await Promise.all(channels.map((channel) => channel.gone()));
  expect(lostGroups).toEqual(["shared@1"]);
  const channel = await platform.launch(fn, "shared@1", NEVER);
  await greet(channel).ready;
  platform.release("shared@1");
  channel.close();
  await channel.gone();
  expect(lostGroups).toEqual(["shared@1"]);
});

test("Platform.launch throws for an image that is gone and did not come from a registry", async () => {
  const lost = await someFunction({ image_id: `sha256:${"0".repeat(64)}`, digest: null });
  expect(await failureOf(platform.launch(lost, "lost@1", NEVER))).toMatchObject({ reason: "image_unavailable" });
});

test("Platform.launch throws the signal's reason", async () => {
  const reason = new Error("stop");
  expect(await failureOf(platform.launch(await someFunction(), "a@1", AbortSignal.abort(reason)))).toBe(reason);
});

test("Platform.check names the networks that instances can have", async () => {
  await platform.check({ network: "none" });
  const error = await failureOf(platform.check({ network: "nowhere" }));
  expect(error).toMatchObject({ reason: "invalid_request", message: expect.stringContaining('"bridge"') });
});

test("Platform.images and its inventory agree on the existing images", async () => {
  const image = await fixture("static");
  const { image_id } = await platform.images.resolve(image, {});
  expect(await platform.images.look(image, {})).toMatchObject({ image_id });
  expect(await platform.images.look("nowhere:1", {})).toBeUndefined();
  expect(await platform.images.signals(image_id)).toMatchObject({ labels: {} });
  expect((await platform.inventory.list()).map(({ id }) => id)).toContain(image_id);
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Build } from "../../../lib/domain/builds/builds.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { allImages, begin, build, left, leftNow, usesBuildKit } from "./support/sent-builds.ts";

let engine: Engine;
let base: string;
/** The things that others have left. */
let before: readonly string[];
let directory: string;

beforeAll(async () => {
  engine = await acquireEngine();
  before = await leftNow(engine.client);
  base = await baseImage(engine.client, "busybox");
  directory = await mkdtemp(join(tmpdir(), "slipway-left-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

test("a server that is killed in the middle of a build leaves nothing after its restart", async () => {
  const images = await allImages(engine.client);
  const Dockerfile = `FROM ${base}\nRUN echo ${crypto.randomUUID()} > /x\nRUN sleep 600`;
  const killed = await SpawnedServer.start({ DATA_PATH: directory });
  const { id } = await begin(killed, { Dockerfile });
  const record = async (url: string) => {
    const { data } = (await (await fetch(`${url}/v1/builds/${id}`)).json()) as { data: Build }; // an envelope
    return data;
  };
  expect(await eventually(async () => (await record(killed.url)).step?.instruction === "RUN sleep 600", 20_000)).toBe(
    true,
  );
  killed.kill("SIGKILL");
  await killed.exited;
  // BuildKit makes no images on its way.
  expect(Bun.deepEquals(await allImages(engine.client), images)).toBe(await usesBuildKit(engine.client));

  await using next = await SpawnedServer.start({ DATA_PATH: directory });
  expect(await record(next.url)).toMatchObject({ status: "failed", reason: "shutting_down", image: null });
  expect(await left(engine.client, before, 30_000)).toEqual([]);
  expect(await eventually(async () => Bun.deepEquals(await allImages(engine.client), images), 30_000)).toBe(true);
  expect(await readdir(directory)).not.toContain("builds");
});

// Two builds, which share their first step: the containerd image store removes that with the first image.
test("the image of a build is removed with its last function, and all that it was built on step by step", async () => {
  await using server = await TestServer.start({ KEEP_VERSIONS: "1" });
  const images = await allImages(engine.client);
  const functions = [];
  for (const name of ["gone", "gone-too"]) {
    const lines = [`FROM ${base}`, `RUN echo ${crypto.randomUUID()} > /x`, "ENV Y=1", 'CMD ["sh", "-c", "exit 0"]'];
    const { build: made } = await build(server, { Dockerfile: lines.join("\n") });
    const fn = await server.createFunction(made.image ?? "", { name });
    expect((await server.invoke(fn)).status).toBe(200);
    functions.push(fn);
  }
  for (const { id } of functions) await server.api("DELETE", `/v1/functions/${id}`);
  expect(await eventually(async () => Bun.deepEquals(await allImages(engine.client), images), 20_000)).toBe(true);
});

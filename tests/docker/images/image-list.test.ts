import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../lib/clock.ts";
import { listLeftImages } from "../../../lib/docker/api/builds.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { Images } from "../../../lib/docker/api/images.ts";
import { Metrics } from "../../../lib/metrics.ts";

/** The answer of Docker 28.5 with the containerd image store if an image was removed meanwhile. */
const GONE = { message: "NotFound: content digest sha256:230473df430c: not found" };

/** Calls `use` with a connection to an engine that cannot list its images the first `failures` times, and a count of its lists. */
async function withEngine(
  failures: number,
  use: (connection: EngineConnection, lists: () => number) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-images-"));
  const socketPath = join(directory, "engine.sock");
  let lists = 0;
  using _server = Bun.serve({
    unix: socketPath,
    fetch: ({ url }) => {
      if (!url.includes("/images/json")) return new Response("OK", { headers: { "Api-Version": "1.41" } });
      lists++;
      return lists > failures ? Response.json([{ Id: "sha256:a" }]) : Response.json(GONE, { status: 404 });
    },
  });
  try {
    const address = { socketPath };
    using connection = new EngineConnection({ address, timeout_ms: 5_000, clock: systemClock, metrics: new Metrics() });
    await use(connection, () => lists);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("a list of images is asked for again if one of them was removed meanwhile", async () => {
  await withEngine(2, async (connection, lists) => {
    expect(await listLeftImages(connection, "o")).toEqual(["sha256:a"]);
    expect(lists()).toBe(3);
  });
  await withEngine(2, async (connection) => {
    const images = new Images({ connection, clock: systemClock, pull_timeout_ms: 5_000 });
    expect(await images.list()).toEqual([{ id: "sha256:a", names: [] }]);
  });
});

test("a list of images that the engine does not get done is an error in the end", async () => {
  await withEngine(100, async (connection, lists) => {
    const thrown: unknown = await listLeftImages(connection, "o").catch((error: unknown) => error);
    expect(thrown).toMatchObject({ status: 404, message: expect.stringContaining("content digest") });
    expect(lists()).toBe(5);
  });
});

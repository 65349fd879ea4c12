import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiClient } from "../../../lib/cli/api/api-client.ts";
import { develop } from "../../../lib/cli/deploy/dev.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-dev-"));
  await Bun.write(join(directory, "Dockerfile"), "FROM scratch\n");
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const BUILD = { id: "b1", status: "succeeded", image: "built:1", step: null, error: null };

/** A server that builds at once, takes its time to register what was built, and answers no more questions meanwhile. */
function slowServer() {
  const registering = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const failure = (message: string, status: number, reason: string) =>
    Response.json({ success: false, message, data: null, reason }, { status });
  let isBroken = false;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    routes: {
      "/v1/builds": { POST: () => Response.json({ success: true, message: "success", data: BUILD }) },
      "/v1/builds/b1/events": () =>
        new Response(`event: state\ndata: ${JSON.stringify(BUILD)}\n\nevent: end\ndata: {}\n\n`, {
          headers: { "content-type": "text/event-stream" },
        }),
      "/v1/functions": {
        POST: async ({ signal }) => {
          signal.addEventListener("abort", () => left.resolve());
          isBroken = true;
          registering.resolve();
          await left.promise;
          return new Response();
        },
      },
      "/v1/functions/:name": () =>
        isBroken ? failure("on purpose", 500, "internal") : failure("No function", 404, "not_found"),
    },
  });
  return { url: server.url.origin, registering, left, [Symbol.asyncDispose]: () => server.stop(true) };
}

test("develop gives up the registration that is under way if the function cannot be removed at the end", async () => {
  await using server = slowServer();
  const leaving = new AbortController();
  const quiet = () => undefined;
  const ended = develop(
    { source: directory, name: "app", signal: leaving.signal },
    new ApiClient({ url: server.url, key: null, ca: null, isOwn: false, allowHttp: "on" }),
    { note: quiet, progress: quiet, built: quiet, ready: quiet, failed: quiet },
  );
  await server.registering.promise;
  leaving.abort();
  expect(await rejectionOf(ended)).toMatchObject({ message: 'The function "app" is not removed: on purpose' });
  // Its process would wait for the answer.
  await server.left.promise;
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../lib/clock.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { pullImage } from "../../../lib/docker/api/image-pull.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

// Recorded words of Docker 20.10, 26.1 and 28.5 (with the containerd image store); tests/e2e/faults/images.test.ts asks
// the real engines.

let directory: string;
let server: Server;
let connection: EngineConnection;
/** The answer to a pull: a status with a message, or progress that ends with an error. */
let reply: { readonly status: number; readonly text: string };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-pull-"));
  server = createServer((request, response) => {
    if (request.url?.includes("/_ping")) return response.writeHead(200, { "Api-Version": "1.41" }).end("OK");
    return response.writeHead(reply.status).end(reply.text);
  });
  const socketPath = join(directory, "docker.sock");
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(socketPath, resolve);
  await promise;
  const deps = { address: { socketPath }, timeout_ms: 5_000, clock: systemClock, metrics: new Metrics() };
  connection = new EngineConnection(deps);
});

afterEach(async () => {
  connection[Symbol.dispose]();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

/** An answer before the progress begins. */
function refused(status: number, message: string) {
  return { status, text: JSON.stringify({ message }) };
}

/** An error after the progress has begun. */
function broken(error: string) {
  const lines = [
    { status: "Pulling from team/app", id: "1" },
    { errorDetail: { message: error }, error },
  ];
  return { status: 200, text: lines.map((line) => `${JSON.stringify(line)}\n`).join("") };
}

function pullErrorOf(reference: string): Promise<unknown> {
  return rejectionOf(pullImage({ connection, clock: systemClock, timeout_ms: 5_000 }, reference, {}));
}

const LOST_LAYER =
  "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:8ff6 " +
  "(application/vnd.docker.image.rootfs.diff.tar.gzip) from remote: not found";

describe("pullImage says whether the registry has no such image, or cannot give it", () => {
  test.each<[string, typeof reply, Reason, string]>([
    [
      "a missing tag, by the older store",
      refused(404, "manifest for r.example/team/app:1 not found: manifest unknown: manifest unknown"),
      "image_not_found",
      "Check the name and the tag",
    ],
    [
      "a missing tag, by the containerd store",
      refused(404, 'failed to resolve reference "r.example/team/app:1": r.example/team/app:1: not found'),
      "image_not_found",
      "Check the name and the tag",
    ],
    ["a lost layer, by the older store", broken("unknown blob"), "image_unavailable", "unknown blob"],
    ["a lost layer, by the containerd store", broken(LOST_LAYER), "image_unavailable", "from remote: not found"],
    [
      "a lost layer, said before any progress",
      refused(404, LOST_LAYER),
      "image_unavailable",
      "could not fetch content descriptor",
    ],
    [
      "another machine's image, by the older store",
      broken("no matching manifest for linux/amd64 in the manifest list entries"),
      "image_unavailable",
      "for other machines only",
    ],
    [
      "another machine's image, by the containerd store",
      refused(404, "no match for platform in manifest: not found"),
      "image_unavailable",
      "for other machines only",
    ],
    [
      "a registry that is away",
      refused(500, 'Get "https://r.example/v2/": dial tcp: lookup r.example: no such host'),
      "image_unavailable",
      "Check that the registry can be reached",
    ],
    [
      "a registry that refuses",
      refused(500, "pull access denied, repository does not exist or may require authorization"),
      "registry_denied",
      "private images need credentials",
    ],
  ])("%s", async (_, answer, reason, words) => {
    reply = answer;
    expect(await pullErrorOf("r.example/team/app:1")).toMatchObject({
      reason,
      message: expect.stringContaining(words),
    });
  });

  test.each(["r.example/team/blob:1", "blob:1", "team/blob", "r.example/blob@sha256:" + "0".repeat(64)])(
    "whatever the image is called: %s",
    async (reference) => {
      reply = refused(404, `failed to resolve reference "${reference}": ${reference}: not found`);
      expect(await pullErrorOf(reference)).toMatchObject({ reason: "image_not_found" });
    },
  );
});

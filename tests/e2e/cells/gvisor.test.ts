import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { copyImages } from "../../../.ci/engine/image-tree.ts";
import { type PrivateEngine, startPrivateEngine } from "../../../.ci/engine/private-engine.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { seenBy } from "../pool/pools.ts";

let engine: PrivateEngine;
let image: string;

/**
 * Options of gVisor that work everywhere: it needs no virtualisation in hardware, and no network, as Debian's of 2022 takes a
 * container's for the machine's own on new kernels.
 */
const OPTIONS = ["--platform=ptrace", "--network=none"];

beforeAll(async () => {
  const path = await ensureProgram("runsc", ["runsc"]);
  image = await fixture("chaos");
  engine = await startPrivateEngine("installed", {
    settings: { runtimes: { runsc: { path, runtimeArgs: OPTIONS } } },
  });
  await copyImages((await acquireEngine()).client, engine.client, [image]);
});

afterAll(() => engine.stop());

test("gVisor runs functions in containers, also used ones, and has no cells: a 400 names the runtime and the cause", async () => {
  await using server = await TestServer.start({ DOCKER_HOST: engine.client.host });
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200)).toBe(true);
  const settings = { runtime: "runsc", timeout_ms: 60_000 };
  const refused = await server.api("POST", "/v1/functions", { image, ...settings, isolation: "cell" });
  expectError(refused, { status: 400, reason: "invalid_request" });
  expect(refused.body.message).toMatch(
    /^"isolation" cannot be "cell": this engine cannot make one with the runtime "runsc" \(the gate cannot set up (?:pipes of the function's user|a tmpfs with a bound for its files) \(.+\)\); give "container" .+, or another "runtime"$/,
  );
  const fn = await server.createFunction(image, settings);
  const path = `/v1/functions/${fn.id}`;
  const { mounts } = await seenBy(await server.invoke(fn, { do: "env" }));
  expect(mounts.join("\n")).toMatch(/ \/ (?:9p|gofer|overlay) .*\n.*\/\.slipway/s);
  expectError(await server.api("PATCH", path, { isolation: "cell" }), {
    status: 400,
    reason: "invalid_request",
    message: refused.body.message,
  });
  expectSuccess(await server.api<Function>("PATCH", path, { isolation: "process" }));
  expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
});

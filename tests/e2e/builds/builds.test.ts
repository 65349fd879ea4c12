import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Build, BuildPage } from "../../../lib/domain/builds/builds.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { NewKey } from "../../../lib/domain/keys.ts";
import type { SystemState } from "../../../lib/domain/system/system.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { eventually } from "../../support/pace.ts";
import { startRegistry } from "../../support/registry/registry.ts";
import { type Reply, TestServer } from "../../support/server.ts";
import {
  allImages,
  begin,
  build,
  contextOf,
  end,
  left,
  leftNow,
  post,
  removeBuilt,
  usesBuildKit,
} from "./support/sent-builds.ts";

let engine: Engine;
let server: TestServer;
let base: string;
/** True if the engine builds with BuildKit, for which only what changes files is a step. */
let isBuildKit: boolean;
/** The things that others have left. */
let before: readonly string[];

beforeAll(async () => {
  engine = await acquireEngine();
  before = await leftNow(engine.client);
  isBuildKit = await usesBuildKit(engine.client);
  server = await TestServer.start({ BUILD_BYTES: "4MiB", BUILDS_AT_ONCE: "2", KEEP_VERSIONS: "1" });
  base = await baseImage(engine.client, "busybox");
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await removeBuilt(engine);
});

afterEach(async () => {
  expect(await left(engine.client, before)).toEqual([]);
  // A build's file goes after its end was told.
  const files = () => readdirSync(join(server.dataPath, "builds"));
  await eventually(() => files().length === 0);
  expect(files()).toEqual([]);
});

/** A Dockerfile of a function that answers with a text. Each has a step that no other build has run. */
const echo = (text: string) =>
  [`FROM ${base}`, `RUN echo '${text}' > /text`, "LABEL slipway.contract=stdio", 'CMD ["cat", "/text"]'].join("\n");

const unique = () => crypto.randomUUID();

async function reply<T>(response: Response): Promise<Reply<T>> {
  const body: unknown = await response.json();
  return { status: response.status, headers: response.headers, body: body as Reply<T>["body"] };
}

describe("a build", () => {
  test("makes an image that functions are created of, which their versions keep", async () => {
    const [one, two] = [unique(), unique()];
    const first = await build(server, { Dockerfile: echo(one) });
    expect(first.build).toMatchObject({ name: "app", status: "succeeded", reason: null, error: null, target: null });
    const run = `RUN echo '${one}' > /text`;
    const steps = isBuildKit ? 2 : 4;
    const instruction = isBuildKit ? run : 'CMD ["cat", "/text"]';
    expect(first.build.step).toEqual({ number: steps, total: steps, instruction });
    expect(first.output).toContain(`Step 2/${steps} : ${run}\n`);
    expect(first.output).not.toContain("slipway.builder");
    const fn = await server.createFunction(first.build.image ?? "", { name: "built" });
    expect(fn).toMatchObject({
      image: first.build.image,
      image_id: first.build.image_id,
      digest: null,
      contract: "stdio",
    });
    expect(await (await server.invoke(fn)).text()).toBe(`${one}\n`);

    const second = await build(server, { Dockerfile: echo(two) });
    const image = second.build.image ?? "";
    await server.api("POST", "/v1/routes", { path: "/old", function_id: fn.id, version: 1, methods: ["GET"] });
    const changed = expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${fn.id}`, { image }));
    expect([changed.version, await (await server.invoke(fn)).text()]).toEqual([2, `${two}\n`]);
    expect(await (await fetch(`${server.url}/r/old`)).text()).toBe(`${one}\n`);

    // The server knows both images, also that of the older version.
    const unowned = async () => expectSuccess(await server.api<SystemState>("GET", "/v1/system")).unowned;
    expect(await eventually(async () => (await unowned())?.every(({ kind }) => kind !== "image") === true)).toBe(true);

    await server.api("DELETE", `/v1/functions/${fn.id}?cascade=true`);
    const kept = (await server.api<BuildPage>("GET", "/v1/builds?name=app&limit=2")).body.data;
    expect(kept.builds).toEqual([second.build, first.build]);
  });

  test("of the same context gives the same image under the same name", async () => {
    const Dockerfile = echo(unique());
    const [one, two] = [await build(server, { Dockerfile }), await build(server, { Dockerfile })];
    expect(two.build.id).not.toBe(one.build.id);
    expect([two.build.image, two.build.image_id]).toEqual([one.build.image, one.build.image_id]);
    expect(two.output).toContain("Using cache");
    const three = await build(server, { Dockerfile }, { no_cache: "true" });
    expect(three.build.image).not.toBe(one.build.image);
    expect(three.output).not.toContain("Using cache");
  });

  test("obeys target, build arguments and another Dockerfile, and leaves no stage behind", async () => {
    const text = unique();
    const dockerfile = [
      "# escape=\x60",
      `FROM ${base} AS first`,
      "ARG TEXT=none",
      `RUN echo $TEXT-${text} \x60`,
      "  > /text",
      "FROM scratch AS second",
      "COPY --from=first /text /text",
      "FROM nowhere.invalid/x AS third",
    ].join("\n");
    const query = { dockerfile: "docker/File", target: "second", build_args: '{"TEXT": "given"}', name: "staged" };
    const { build: made, output } = await build(server, { "docker/File": dockerfile }, query);
    expect([made.error, made.status, made.target, made.dockerfile]).toEqual([
      null,
      "succeeded",
      "second",
      "docker/File",
    ]);
    const steps = isBuildKit ? 3 : 5;
    expect(made.step).toEqual({ number: steps, total: steps, instruction: "COPY --from=first /text /text" });
    expect(output).toContain(`Step 1/${steps} : FROM`);
    const container = (await engine.docker("create", made.image ?? "", "x")).trim();
    expect(await engine.docker("cp", `${container}:/text`, "-")).toContain(`given-${text}`);
    await engine.docker("rm", container);
  });

  test("that fails names the step, and leaves nothing behind", async () => {
    const images = await allImages(engine.client);
    const Dockerfile = `FROM ${base}\nRUN echo ${unique()} > /x\nRUN echo so far && exit 3\nRUN echo never`;
    const { build: failed, output } = await build(server, { Dockerfile });
    expect(failed).toMatchObject({ status: "failed", reason: "build_failed", image: null, image_id: null });
    expect(failed.step).toEqual({ number: 3, total: 4, instruction: "RUN echo so far && exit 3" });
    expect(failed.error).toMatch(/returned a non-zero code: 3|exit code: 3/);
    expect(output).toContain("so far\n");
    expect(output).not.toContain("never\n");
    // An image of the test before may still be going; what is in use is tried again after 5 s.
    const more = async () => (await allImages(engine.client)).filter((id) => !images.includes(id));
    expect(await eventually(async () => (await more()).length === 0, 10_000)).toBe(true);
  });

  test.each([
    ["FROM scratch\nFOO bar", "line 2: unknown instruction: foo"],
    ["FROM scratch\nCOPY missing.txt /", "missing.txt"],
    ["FROM slipway-test/no-such-image:1", "slipway-test/no-such-image"],
    ["", "empty"],
  ])("with the Dockerfile %j fails with its cause", async (Dockerfile, cause) => {
    const { build: failed } = await build(server, { Dockerfile });
    expect([failed.status, failed.reason]).toEqual(["failed", "build_failed"]);
    expect(`${failed.step?.instruction} ${failed.error}`.toLowerCase()).toContain(cause);
    expect(failed.error).not.toMatch(/docker-builder|\/var\/lib/);
  });

  test("can be cancelled: by then nothing of it runs, and soon nothing is left", async () => {
    const { id } = await begin(server, { Dockerfile: `FROM ${base}\nRUN echo ${unique()}\nRUN sleep 600` });
    const isAsleep = async () => {
      const { step } = (await server.api<Build>("GET", `/v1/builds/${id}`)).body.data;
      return step?.instruction === "RUN sleep 600";
    };
    expect(await eventually(isAsleep, 20_000)).toBe(true);
    expect(expectSuccess(await server.api<Build>("DELETE", `/v1/builds/${id}`))).toMatchObject({ status: "cancelled" });
    expectError(await server.api("DELETE", `/v1/builds/${id}`), { status: 409, reason: "conflict" });
    expect(await left(engine.client, before, 20_000)).toEqual([]);
  });

  test("is followed from where a reader was cut off", async () => {
    const text = unique();
    const { build: made, output } = await build(server, { Dockerfile: echo(text) });
    const events = await fetch(`${server.url}/v1/builds/${made.id}/events`, { headers: { "Last-Event-ID": "10" } });
    expect(events.headers.get("content-type")).toBe("text/event-stream");
    const rest = await events.text();
    expect(rest).toContain(JSON.stringify({ text: output.slice(10) }));
    expect(rest.endsWith("event: end\ndata: {}\n\n")).toBe(true);
    expectError(await server.api("GET", "/v1/builds/none/events"), { status: 404, reason: "not_found" });
  });

  test("may use the images of registries that the server has credentials for", async () => {
    const credentials = { username: "builder", password: "s3cret-passw0rd" };
    await using registry = await startRegistry(credentials);
    const { reference } = await registry.pushUnique("team/base:1");
    const files = { Dockerfile: `FROM ${reference}\nENV X=${unique()}` };
    const refused = await build(server, files);
    expect(refused.build.error).toMatch(/no basic auth credentials|authorization failed|unauthorized/i);
    expectSuccess(await server.api("PUT", `/v1/registries/${registry.host}`, credentials), 201);
    const allowed = await build(server, files, { pull: "true" });
    expect([allowed.build.error, allowed.build.status]).toEqual([null, "succeeded"]);
    expect(allowed.output).not.toContain("s3cret");
    await server.api("DELETE", `/v1/registries/${registry.host}`);
  });
});

describe("the context of a build", () => {
  test("is refused if it is too large, packed or unpacked", async () => {
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))).toString("base64");
    const large = await contextOf(Object.fromEntries(Array.from({ length: 80 }, (_, n) => [`f${n}`, noise])));
    expectError(await reply(await post(server, large)), { status: 413, reason: "payload_too_large" });
    const { build: bomb } = await build(server, { Dockerfile: "FROM scratch", zeros: "\0".repeat(5 * 1024 ** 2) });
    expect([bomb.status, bomb.reason]).toEqual(["failed", "context_invalid"]);
    expect(bomb.error).toContain("BUILD_BYTES");
  });

  test.each([
    ["no tar archive", "not a whole tar archive", Buffer.from("this is text, and long enough".repeat(100))],
    ["a packed archive that is cut", "not a whole tar archive", "cut"],
    ["no Dockerfile", 'no file "Dockerfile"', "bare"],
  ] as const)("%s: %s", async (_, problem, given) => {
    const body =
      given === "cut"
        ? (await contextOf({ Dockerfile: "FROM scratch", x: unique().repeat(9_000) })).slice(0, 700)
        : given === "bare"
          ? await contextOf({ "other.txt": "x" })
          : given;
    const { data } = (await (await post(server, body)).json()) as { data: Build }; // an envelope
    const { build: failed } = await end(server, data.id);
    expect([failed.status, failed.reason]).toEqual(["failed", "context_invalid"]);
    expect(failed.error).toContain(problem);
  });

  test("must be there, and have a name", async () => {
    expectError(await reply(await fetch(`${server.url}/v1/builds?name=x`, { method: "POST" })), {
      status: 400,
      reason: "invalid_request",
    });
    expectError(await reply(await post(server, "x", { name: "Not A Name" })), {
      status: 400,
      reason: "invalid_request",
    });
    expectError(await reply(await post(server, "x", {}, { "content-encoding": "gzip" })), {
      status: 415,
      reason: "unsupported_encoding",
    });
  });
});

test("a build needs the scope deploy", async () => {
  await using locked = await TestServer.start({ AUTH: "on", API_KEY: "the-key-of-this-server-0123456789" });
  const admin = { authorization: "Bearer the-key-of-this-server-0123456789" };
  const keyWith = async (scope: string) => {
    const made = await locked.api<NewKey>("POST", "/v1/keys", { name: scope, scopes: [scope] }, admin);
    return { authorization: `Bearer ${made.body.data.token}` };
  };
  const context = await contextOf({ Dockerfile: "FROM scratch\nENV X=1" });
  const [reader, deployer] = [await keyWith("read"), await keyWith("deploy")];
  expectError(await reply(await post(locked, context, {}, reader)), { status: 403, reason: "forbidden" });
  const { id } = expectSuccess(await reply<Build>(await post(locked, context, {}, deployer)), 202);
  expectSuccess(await locked.api("GET", `/v1/builds/${id}`, undefined, reader));
  expectError(await locked.api("DELETE", `/v1/builds/${id}`, undefined, reader), { status: 403, reason: "forbidden" });
  const events = await fetch(`${locked.url}/v1/builds/${id}/events`, { headers: reader });
  expect(await events.text()).toContain("event: end");
});

test("a build that takes longer than it may is ended", async () => {
  await using hasty = await TestServer.start({ BUILD_TIMEOUT_MS: "2s" });
  const { build: late } = await build(hasty, { Dockerfile: `FROM ${base}\nRUN sleep 600` });
  expect([late.status, late.reason]).toEqual(["failed", "build_timeout"]);
  expect(late.error).toContain("BUILD_TIMEOUT_MS");
  // Its own server removes what it has left.
  expect(await left(engine.client, before)).toEqual([]);
});

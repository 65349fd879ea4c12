import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { type Pushed, type Registry, startRegistry } from "../../support/registry/registry.ts";
import { TestServer } from "../../support/server.ts";
import { eventually } from "../../support/pace.ts";

let engine: Engine;
let registry: Registry;
let server: TestServer;
/** Three images that no engine has. */
let images: readonly Pushed[];
let pushes = 0;

beforeAll(async () => {
  engine = await acquireEngine();
  registry = await startRegistry();
  server = await TestServer.start({ KEEP_VERSIONS: "1" });
});

beforeEach(async () => {
  const name = `team/app-${pushes++}`;
  // One after the other: a registry that is asked to mount a layer twice at once may read the half-written name of it.
  const first = await registry.pushUnique(`${name}:1`);
  const second = await registry.pushUnique(`${name}:2`);
  images = [first, second, await registry.pushUnique(`${name}:3`)];
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

function image(index: number): Pushed {
  const found = images[index];
  if (found === undefined) throw new Error(`no image ${index}`);
  return found;
}

/** Returns the engine's id for a name, if it has one. */
async function idOf(name: string): Promise<string | undefined> {
  const found = await engine.docker("image", "inspect", "--format", "{{.Id}}", name).catch(() => undefined);
  return found?.trim();
}

async function patch(fn: Pick<Function, "id">, body: object): Promise<Function> {
  return expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${fn.id}`, body));
}

/** Waits until the server has logged whether it kept or removed an image. */
async function verdictOn(imageId: string | null, message: "image removed" | "image kept"): Promise<void> {
  const said = () => server.log.some((line) => line.includes(`"${message}"`) && line.includes(String(imageId)));
  expect(await eventually(said, 20_000)).toBe(true);
}

describe("the image of a version beyond those that are kept", () => {
  test("is removed with its tag, and pulled again for a rollback", async () => {
    const fn = await server.createFunction(image(0).reference);
    await patch(fn, { image: image(1).reference });
    await verdictOn(fn.image_id, "image removed");
    expect(await idOf(fn.image_id ?? "")).toBeUndefined();
    expect(await idOf(image(0).reference)).toBeUndefined();
    expect(await idOf(image(1).reference)).toBeDefined();
    const back = await server.api<Function>("POST", `/v1/functions/${fn.id}/rollback`, { version: 1 });
    expect(expectSuccess(back)).toMatchObject({ version: 3, image_id: fn.image_id, digest: fn.digest });
    expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
  });

  test("is removed after its tag has moved on to another image", async () => {
    const fn = await server.createFunction(image(0).reference);
    const [repository = ""] = image(0).reference.split(/:\d+$/);
    // The registry gives the tag to another image, as a release does.
    await engine.docker("pull", "-q", image(2).reference);
    await engine.docker("tag", image(2).reference, image(0).reference);
    await engine.docker("push", "-q", image(0).reference);
    await engine.docker("rmi", image(2).reference, image(0).reference);
    await engine.docker("pull", "-q", `${repository}@${image(0).digest}`);
    const moved = expectSuccess(await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`));
    expect(moved).toMatchObject({ version: 2, digest: `${repository}@${image(2).digest}` });
    await verdictOn(fn.image_id, "image removed");
    expect(await idOf(image(0).reference)).toBe(moved.image_id ?? "none");
  });

  test("is removed with its function", async () => {
    const fn = await server.createFunction(image(0).reference);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
    await verdictOn(fn.image_id, "image removed");
    expect(await idOf(fn.image_id ?? "")).toBeUndefined();
  });

  test("is removed with all the names that pulls of this server gave it", async () => {
    await registry.push(await pulled(image(0)), `team/second-${pushes}:9`);
    await engine.docker("rmi", image(0).reference);
    const second = `${registry.host}/team/second-${pushes}:9`;
    const functions = [await server.createFunction(image(0).reference), await server.createFunction(second)];
    for (const fn of functions) await server.api("DELETE", `/v1/functions/${fn.id}`);
    await verdictOn(functions[0]?.image_id ?? null, "image removed");
    expect(await idOf(second)).toBeUndefined();
    expect(await idOf(image(0).reference)).toBeUndefined();
  });

  test("stays while another function uses it, a route names its version, or a container was made from it", async () => {
    const fn = await server.createFunction(image(0).reference);
    const twin = await server.createFunction(image(0).reference);
    await patch(fn, { image: image(1).reference });
    const { id } = expectSuccess(
      await server.api<Route>("POST", "/v1/routes", { path: "/old", function_id: fn.id, version: 1 }),
    );
    await server.api("DELETE", `/v1/functions/${twin.id}`);
    const container = (await engine.docker("create", image(0).reference, "x")).trim();
    await server.api("DELETE", `/v1/routes/${id}`);
    await verdictOn(fn.image_id, "image kept");
    expect(await idOf(image(0).reference)).toBe(fn.image_id ?? "none");
    await engine.docker("rm", container);
    // Any change causes another attempt.
    await patch(fn, { pids: 20 });
    await verdictOn(fn.image_id, "image removed");
  });
});

async function pulled(one: Pushed): Promise<string> {
  await engine.docker("pull", "-q", one.reference);
  return one.reference;
}

describe("other people's images on the engine are not touched:", () => {
  test("an image that was there before", async () => {
    await pulled(image(0));
    const fn = await server.createFunction(image(0).reference);
    expectSuccess(await server.api("POST", `/v1/functions/${fn.id}/pull`));
    const other = await server.createFunction(image(1).reference);
    for (const { id } of [fn, other]) await server.api("DELETE", `/v1/functions/${id}`);
    // Both are checked in the same round.
    await verdictOn(other.image_id, "image removed");
    expect(await idOf(image(0).reference)).toBe(fn.image_id ?? "none");
    await engine.docker("rmi", image(0).reference);
  });

  test("another name of an image, in the same repository or not", async () => {
    const fn = await server.createFunction(image(0).reference);
    const mine = [`${image(0).reference}-mine`, "slipway-test/mine:1"];
    for (const name of mine) await engine.docker("tag", image(0).reference, name);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
    await verdictOn(fn.image_id, "image kept");
    for (const name of [...mine, image(0).reference]) expect(await idOf(name)).toBe(fn.image_id ?? "none");
    await engine.docker("rmi", ...mine, image(0).reference);
  });

  test("a tag of their image that a pull of ours moved to a newer one", async () => {
    await pulled(image(0));
    await engine.docker("tag", image(0).reference, image(1).reference);
    const fn = await server.createFunction(image(1).reference);
    const moved = expectSuccess(await server.api<Function>("POST", `/v1/functions/${fn.id}/pull`));
    expect(moved.image_id).not.toBe(fn.image_id);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
    await verdictOn(moved.image_id, "image kept");
    expect(await idOf(image(1).reference)).toBe(moved.image_id ?? "none");
    await engine.docker("rmi", image(0).reference, image(1).reference);
  });
});

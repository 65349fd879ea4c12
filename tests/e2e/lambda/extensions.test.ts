import { afterAll, beforeAll, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { register } from "./lambda-function.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start({ WARM_MAX: "1" });
  image = await fixture("lambda-extensions");
});

afterAll(() => server[Symbol.asyncDispose]());

/** Registers a function whose extension does something, in an image that has one. */
function watched(WATCHER: string, settings: object = {}) {
  return register(server, { image, environment: { WATCHER }, warm_max: 0, ...settings });
}

async function logOf(response: Response): Promise<string> {
  const { entries } = await server.logs(response.headers.get("x-request-id") ?? "");
  return entries.map(({ text }) => text).join("");
}

test("an extension is told of its call and of the end of the instance, and all that it prints is in the call's log", async () => {
  await using fn = await watched("listen", { name: "watched" });
  expect(fn.warnings).toBeUndefined();
  const response = await server.invoke(fn, { a: 1 });
  const id = response.headers.get("x-request-id") ?? "";
  expect([response.status, await response.json()]).toEqual([
    200,
    expect.objectContaining({ event: { a: 1 }, calls: 1 }),
  ]);
  expect(await eventually(async () => (await logOf(response)).includes("SHUTDOWN"))).toBe(true);
  const log = await logOf(response);
  expect(log).toContain('watcher of {"functionName":"watched","functionVersion":"1","handler":');
  expect(log).toMatch(new RegExp(`watcher got {"eventType":"INVOKE","deadlineMs":\\d+,"requestId":"${id}"`));
  expect(log).toMatch(/watcher got {"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":\d+}/);
});

test("the extension of an instance that is kept gets one event after another, also from frozen, and ends with it", async () => {
  await using fn = await watched("listen", { max_calls: 0, idle: "freeze", warm_max: 1 });
  for (const calls of [1, 2]) {
    const response = await server.invoke(fn, {});
    expect(await response.json()).toMatchObject({ calls });
    // It is over when the extension has asked again.
    expect(await eventually(async () => (await logOf(response)).includes("REPORT"))).toBe(true);
    expect((await logOf(response)).match(/"eventType":"INVOKE"/g)).toHaveLength(1);
  }
  // An instance that is done for by its call tells the extension why.
  const late = await server.api("PATCH", `/v1/functions/${fn.id}`, { timeout_ms: 500 });
  expect(late.status).toBe(200);
  const response = await server.invoke(fn, { sleep: 60_000 });
  expect(response.status).toBe(504);
  expect(await eventually(async () => (await logOf(response)).includes('"shutdownReason":"timeout"'))).toBe(true);
});

test("an extension that ends before its time is told of as AWS does, and so is one that never registers", async () => {
  await using exits = await watched("exit");
  const message = 'The function could not start: Extension.Crash: the extension "watcher" has ended: exit status 3';
  expect(exits.warnings).toEqual([expect.stringContaining(message)]);
  const failed = await server.invoke(exits, {});
  expect([failed.status, failed.headers.get("x-amz-function-error")]).toEqual([502, "Unhandled"]);
  expect(await failed.json()).toEqual({
    errorType: "Extension.Crash",
    errorMessage: `RequestId: ${failed.headers.get("x-request-id")} Error: exit status 3`,
  });

  await using silent = await watched("silent", { boot_timeout_ms: 1_500 });
  const late = 'The function did not get ready, as its extension "watcher" did not register, within 1500 ms';
  expect(silent.warnings).toEqual([expect.stringContaining(late)]);

  await using crashes = await watched("crash", { timeout_ms: 20_000 });
  const crashed = await server.invoke(crashes, { sleep: 60_000 });
  const id = crashed.headers.get("x-request-id") ?? "";
  expect([crashed.status, await crashed.json()]).toEqual([
    502,
    { errorType: "Extension.Crash", errorMessage: `RequestId: ${id} Error: exit status 4` },
  ]);
  expect(await server.ended(id)).toMatchObject({ status: "failed", reason: "function_failed" });
  expect(await eventually(async () => (await logOf(crashed)).includes("\tError Type: Extension.Crash\n"))).toBe(true);
});

test("neither floods of output nor processes that an extension leaves behind keep a call from its answer, nor a container", async () => {
  await using floods = await watched("flood", { log_bytes: 20_000 });
  await using forks = await watched("fork");
  for (const fn of [floods, forks]) {
    const response = await server.invoke(fn, { b: 2 });
    expect(await response.json()).toMatchObject({ event: { b: 2 } });
  }
});

test("an adapter of web servers, which is an extension and the runtime, too, has a server as its function", async () => {
  const serve = 'Bun.serve({ port: 8080, fetch: async (request) => new Response("served " + (await request.text())) })';
  await using fn = await watched("adapter", { command: ["bun", "-e", serve], max_calls: 0 });
  expect(fn.warnings).toBeUndefined();
  for (const n of [1, 2]) expect(await (await server.invoke(fn, { n })).text()).toBe(`served {"n":${n}}`);
});

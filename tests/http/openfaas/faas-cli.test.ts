import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { NewKey } from "../../../lib/domain/keys.ts";
import type { ScheduleWithTimes } from "../../../lib/domain/schedules.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { Receiver } from "../../support/receiver.ts";
import { TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";
import { decoded, FUNCTION_STATUS, INFO, LOG_MESSAGE, SECRET } from "./support/go-types.ts";
import { replay } from "./support/recorded.ts";

const ADMIN = "the-key-of-an-administrator-of-this-server";
const IMAGE = "slipway-test/figlet:0.1.0";

let server: TestServer;
let receiver: Receiver;

beforeAll(async () => {
  receiver = await Receiver.start();
  server = await TestServer.start({ API_KEY: ADMIN, CALLBACK_ALLOW: "127.0.0.1" });
  await (await acquireEngine()).docker("tag", await fixture("static"), IMAGE);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  await (await acquireEngine()).docker("rmi", IMAGE);
});

const sent = (name: string) => replay(server.url, name);

async function admin<T>(method: string, path: string, body?: object): Promise<T> {
  return (await server.api<T>(method, path, body, { Authorization: `Bearer ${ADMIN}` })).body.data;
}

/** One day of the program: each test goes on where the one before has ended. */
describe("faas-cli", () => {
  test("login, version, namespaces and ready", async () => {
    expect(await sent("ready")).toMatchObject({ status: 200 });
    expect(await sent("login")).toMatchObject({ status: 200, text: "[]" });
    const { status, text } = await sent("version");
    expect(status).toBe(200);
    expect(decoded(text, INFO)).toMatchObject({
      arch: expect.any(String),
      provider: { provider: "slipway", version: { release: expect.any(String), sha: expect.any(String) } },
      version: { release: expect.any(String), sha: expect.any(String) },
    });
    expect(await sent("namespaces")).toMatchObject({ status: 200, text: '["openfaas-fn"]' });
  });

  test("without a login it is told what to do, in plain text", async () => {
    const { status, headers, text } = await sent("list-without-login");
    expect(status).toBe(401);
    expect(headers.get("content-type")).toStartWith("text/plain");
    expect(text).toStartWith("An API key is needed");
  });

  test("secrets: create, list, update; their values never come back", async () => {
    expect(await sent("secret-update")).toMatchObject({ status: 404 });
    expect(await sent("secret-create")).toMatchObject({ status: 201, text: "" });
    expect(await sent("secret-create")).toMatchObject({ status: 409 });
    expect(await sent("secret-update")).toMatchObject({ status: 202, text: "" });
    const { text } = await sent("secret-list");
    expect(decoded(text, { list: SECRET })).toEqual([{ name: "figlet-token", namespace: "openfaas-fn" }]);
  });

  test("deploy: PUT first, POST when that is a 404, and the function is what the deployment said", async () => {
    expect(await sent("deploy")).toMatchObject({ status: 404 });
    expect(await sent("deploy-new")).toMatchObject({ status: 202, text: "" });
    expect(await sent("deploy-new")).toMatchObject({ status: 409 });
    expect(await sent("deploy")).toMatchObject({ status: 202, text: "" });
    const deployed = {
      name: "figlet",
      image: IMAGE,
      namespace: "openfaas-fn",
      envVars: { greeting: "a < b" },
      secrets: ["figlet-token"],
      labels: { "com.openfaas.scale.zero": "true" },
      annotations: { schedule: "*/5 * * * *", topic: "cron-function" },
      limits: { memory: "64Mi", cpu: "500m" },
      requests: { memory: "32Mi" },
      readOnlyRootFilesystem: true,
      availableReplicas: 1,
    };
    const { text } = await sent("describe");
    expect(decoded(text, FUNCTION_STATUS)).toMatchObject(deployed);
    expect(decoded((await sent("describe-in-namespace")).text, FUNCTION_STATUS)).toMatchObject(deployed);
    expect(decoded((await sent("list")).text, { list: FUNCTION_STATUS })).toMatchObject([deployed]);
    expect(await admin<Function>("GET", "/v1/functions/figlet")).toMatchObject({
      memory_bytes: 64 * 2 ** 20,
      cpus: 0.5,
      read_only: true,
      environment: { greeting: "a < b" },
      secrets: [{ name: "figlet-token", environment: null }],
    });
    const schedules = await admin<ScheduleWithTimes[]>("GET", "/v1/schedules");
    expect(schedules).toMatchObject([{ cron: "*/5 * * * *", timezone: "UTC" }]);
    expect(await sent("secret-remove")).toMatchObject({ status: 409 });
  });

  test("deploy again without what the deployment before had: it is gone, and so is the schedule", async () => {
    expect(await sent("deploy-again")).toMatchObject({ status: 202 });
    expect(decoded((await sent("describe")).text, FUNCTION_STATUS)).toMatchObject({
      envVars: {},
      labels: {},
      annotations: {},
      limits: { memory: "256Mi", cpu: "1000m" },
    });
    expect(await admin<Function>("GET", "/v1/functions/figlet")).toMatchObject({ read_only: false, secrets: [] });
    expect(await admin("GET", "/v1/schedules")).toEqual([]);
  });

  test("invoke: no credentials are sent by itself; with a key the answer is the function's", async () => {
    const refused = await sent("invoke");
    expect(refused.status).toBe(401);
    const { status, text, headers } = await sent("invoke-with-key");
    expect({ status, text }).toEqual({ status: 200, text: '{"logged": 6}' });
    expect(headers.get("x-call-id")).toBe(headers.get("x-request-id"));
    expect(headers.get("x-start-time")).toMatch(/^\d{19}$/);
    expect(Number(headers.get("x-duration-seconds"))).toBeGreaterThan(0);
    expect(headers.get("content-security-policy")).toBe("sandbox");
    expect(decoded((await sent("describe")).text, FUNCTION_STATUS)).toMatchObject({ invocationCount: 1 });
  });

  test("logs: the past as lines of JSON, and what comes while it follows", async () => {
    const { status, headers, text } = await sent("logs");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/x-ndjson");
    const message = { name: "figlet", namespace: "openfaas-fn", instance: expect.any(String), text: "called" };
    expect(linesOf(text).map((line) => decoded(line, LOG_MESSAGE))).toMatchObject([message]);
    const count = (answer: string) => answer.split('"text":"called').length - 1;
    const following = Promise.withResolvers<void>();
    const followed = replay(server.url, "logs-follow", (answer) => {
      if (count(answer) >= 1) following.resolve();
      return count(answer) >= 2;
    });
    await following.promise;
    expect(await sent("invoke-with-key")).toMatchObject({ status: 200 });
    const lines = linesOf((await followed).text).map((line) => decoded(line, LOG_MESSAGE));
    expect(lines).toMatchObject([message, message]);
  });

  test("invoke --async: 202 without a body, and the call is made", async () => {
    const { status, text, headers } = await sent("invoke-async");
    expect({ status, text }).toEqual({ status: 202, text: "" });
    const id = headers.get("x-call-id") ?? "";
    await eventually(async () => (await admin<Invocation>("GET", `/v1/invocations/${id}`)).status === "succeeded");
    expect(await admin<Invocation>("GET", `/v1/invocations/${id}`)).toMatchObject({
      callback_url: "http://127.0.0.1:8081/hook",
    });
  });

  test("the result of an asynchronous call goes to its callback as OpenFaaS sends it", async () => {
    const { status } = await fetch(`${server.url}/async-function/figlet`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ADMIN}`, "X-Callback-Url": receiver.url, "X-Call-Id": "call-1" },
      body: '{"do":"echo","n":1}',
    });
    expect(status).toBe(202);
    expect(await receiver.get(1)).toMatchObject({
      method: "POST",
      body: '{"do":"echo","n":1}',
      headers: {
        "content-type": "application/json",
        "x-call-id": "call-1",
        "x-function-name": "figlet",
        "x-function-status": "200",
        "x-duration-seconds": expect.stringMatching(/^\d+\.\d{6}$/),
        "webhook-signature": expect.stringContaining("v1,"),
      },
    });
  });

  test("a repeated Idempotency-Key has the id of the call that was made, and a WebSocket cannot be queued", async () => {
    const queue = (headers: Record<string, string>, method = "POST") =>
      fetch(`${server.url}/async-function/figlet`, {
        method,
        headers: { Authorization: `Bearer ${ADMIN}`, ...headers },
      });
    const made = await queue({ "Idempotency-Key": "once" });
    const repeated = await queue({ "Idempotency-Key": "once" });
    expect([made.status, repeated.status]).toEqual([202, 202]);
    const id = made.headers.get("x-call-id") ?? "";
    expect(repeated.headers.get("x-call-id")).toBe(id);
    await eventually(async () => (await admin<Invocation>("GET", `/v1/invocations/${id}`)).finished_at !== null);
    const upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    const headers = ["Host: localhost", `Authorization: Bearer ${ADMIN}`, ...upgrade];
    const { status } = await rawRequest(server.url, "GET /async-function/figlet HTTP/1.1", { headers });
    expect(status).toBe(400);
  });

  test("a login of the dashboard calls no function: a link on any page would do it", async () => {
    const own = { Origin: server.url, "Sec-Fetch-Site": "same-origin", "X-Slipway-Page": "1" };
    const login = await server.api("POST", "/ui/login", { key: ADMIN }, own);
    const link = {
      Cookie: login.headers.get("set-cookie")?.split(";", 1)[0] ?? "",
      "Sec-Fetch-Site": "same-site",
      "Sec-Fetch-Mode": "navigate",
      "Sec-Fetch-Dest": "document",
    };
    const follow = async (path: string) => (await fetch(server.url + path, { headers: link })).status;
    expect(await follow("/system/functions")).toBe(200);
    for (const path of ["/function/figlet", "/async-function/figlet"]) expect(await follow(path)).toBe(401);
  });

  test("a key without the scope read sees neither logs nor how often a function was called", async () => {
    const { token } = await admin<NewKey>("POST", "/v1/keys", { name: "deployer", scopes: ["deploy"] });
    const ask = (path: string) => fetch(server.url + path, { headers: { Authorization: `Bearer ${token}` } });
    expect((await ask("/system/logs?name=figlet")).status).toBe(403);
    expect(await (await ask("/system/functions")).json()).toMatchObject([{ invocationCount: 0 }]);
    expect(await (await ask("/system/function/figlet")).json()).toMatchObject({ invocationCount: 0 });
  });

  test("a schedule that is too long is refused, and breaks no list", async () => {
    const annotations = { topic: "cron-function", schedule: `${"0,".repeat(200)}0 * * * *` };
    const refused = await fetch(`${server.url}/system/functions`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ADMIN}` },
      body: JSON.stringify({ service: "scheduled", image: IMAGE, annotations }),
    });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("give at most 256")]);
    expect(await admin("GET", "/v1/schedules")).toEqual([]);
  });

  test("scale and remove", async () => {
    expect(await sent("scale")).toMatchObject({ status: 202, text: "" });
    expect(await sent("remove")).toMatchObject({ status: 202, text: "" });
    expect(await sent("remove")).toMatchObject({ status: 404 });
    expect(await sent("describe")).toMatchObject({ status: 404 });
    expect(await sent("secret-remove")).toMatchObject({ status: 202 });
    expect(await sent("list")).toMatchObject({ status: 200, text: "[]" });
  });
});

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

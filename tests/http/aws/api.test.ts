import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import type { NewKey, Scope } from "../../../lib/domain/keys.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

const ADMIN = "the-key";
const FUNCTIONS = "/2015-03-31/functions";

let directory: string;
let server: TestServer;
let image: string;
let fn: Function;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-aws-"));
  image = await fixture("static");
  server = await start();
  const made = await server.api<Function>(
    "POST",
    "/v1/functions",
    { image, name: "chaos", network: "none", timeout_ms: 60_000, environment: { A: "1" } },
    bearer(ADMIN),
  );
  fn = made.body.data;
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

function start(): Promise<TestServer> {
  return TestServer.start({ API_KEY: ADMIN, DATA_PATH: directory, MAX_REQUEST_BYTES: "64KiB" });
}

const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });
const signed = (key: string) => ({
  Authorization: `AWS4-HMAC-SHA256 Credential=${key}/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00`,
});

interface Sent {
  readonly method?: string;
  readonly key?: string;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** Sends a request as an AWS client does; a body that is no string as JSON. */
function send(
  path: string,
  body?: unknown,
  { method, key = ADMIN, headers = {}, signal }: Sent = {},
): Promise<Response> {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  return fetch(server.url + path, {
    method: method ?? (text === undefined ? "GET" : "POST"),
    headers: { ...signed(key), ...headers },
    timeout: false,
    ...(text !== undefined && { body: text }),
    ...(signal && { signal }),
  });
}

function invoke(payload: unknown, headers: Record<string, string> = {}, name = "chaos"): Promise<Response> {
  return send(`${FUNCTIONS}/${name}/invocations`, payload, { headers });
}

async function errorOf(response: Response) {
  const body = (await response.json()) as { Message?: string; message?: string; Type: string }; // checked by its reader
  const { headers, status } = response;
  expect(headers.get("x-amzn-requestid")).toMatch(/^[0-9a-f-]{36}$/);
  expect(body.Type).toBe(status < 500 ? "User" : "Service");
  return { status, type: headers.get("x-amzn-errortype"), message: body.Message ?? body.message };
}

async function makeKey(scopes: Scope[], function_id: string | null = null): Promise<string> {
  const made = await server.api<NewKey>("POST", "/v1/keys", { name: "k", scopes, function_id }, bearer(ADMIN));
  return made.body.data.token;
}

async function record(id: string | null): Promise<Invocation> {
  return (await server.api<Invocation>("GET", `/v1/invocations/${id}`, undefined, bearer(ADMIN))).body.data;
}

async function recordCount(): Promise<number> {
  const page = await server.api<InvocationPage>("GET", "/v1/invocations?limit=500", undefined, bearer(ADMIN));
  return page.body.data.invocations.length;
}

describe("Invoke", () => {
  test("answers with the payload of the function, byte for byte", async () => {
    const payload = '{"do": "echo",  "big": 12345678901234567890}';
    const response = await invoke(payload);
    expect(await response.text()).toBe(payload);
    expect(response.status).toBe(200);
    expect(response.headers.get("x-amz-executed-version")).toBe("$LATEST");
    expect(response.headers.get("x-amz-function-error")).toBeNull();
    expect(response.headers.get("x-amz-log-result")).toBeNull();
    const id = response.headers.get("x-amzn-requestid");
    expect(response.headers.get("x-request-id")).toBe(id);
    expect(await record(id)).toMatchObject({ function_id: fn.id, status: "succeeded", key_id: "server" });
  });

  test.each([
    "chaos:1",
    "chaos:%24LATEST",
    "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Achaos",
    "000000000000:function:chaos:1",
    "chaos/invocations?Qualifier=1&x=",
  ])("finds the function by %s", async (name) => {
    const path = name.includes("?") ? name : `${name}/invocations`;
    const response = await send(`${FUNCTIONS}/${path}`, "{}");
    expect(await response.text()).toBe("{}");
    expect(response.headers.get("x-amz-executed-version")).toBe(name.includes("1", name.length - 5) ? "1" : "$LATEST");
  });

  test("a failing function is a success with X-Amz-Function-Error and AWS's payload", async () => {
    const failed = await invoke({ do: "exit", code: 3 });
    expect(failed.status).toBe(200);
    expect(failed.headers.get("x-amz-function-error")).toBe("Unhandled");
    const id = failed.headers.get("x-amzn-requestid");
    expect(await failed.json()).toEqual({
      errorType: "Runtime.ExitError",
      errorMessage: `RequestId: ${id} Error: Runtime exited with error: exit status 3`,
    });
    const said = await invoke({ do: "exit", code: 1, response: '{"errorType":"Mine","errorMessage":"no"}' });
    expect(said.headers.get("x-amz-function-error")).toBe("Unhandled");
    expect(await said.json()).toEqual({ errorType: "Mine", errorMessage: "no" });
  });

  test("gives the end of the output with LogType Tail", async () => {
    const text = `${"x".repeat(5_000)}éé\n`;
    const response = await invoke({ do: "log", text }, { "X-Amz-Log-Type": "Tail" });
    expect(response.status).toBe(200);
    const tail = Buffer.from(response.headers.get("x-amz-log-result") ?? "", "base64");
    expect(tail.toString()).toBe(text.slice(-4_094));
    expect(await errorOf(await invoke({}, { "X-Amz-Log-Type": "All" }))).toMatchObject({
      status: 400,
      type: "InvalidParameterValueException",
    });
  });

  test("DryRun checks and calls nothing", async () => {
    const before = await recordCount();
    const response = await invoke({}, { "X-Amz-Invocation-Type": "DryRun" });
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect(await recordCount()).toBe(before);
  });

  test("Event and InvokeAsync put the call into the queue, once for all attempts of the client", async () => {
    const headers = { "X-Amz-Invocation-Type": "Event", "amz-sdk-invocation-id": "event-1" };
    const first = await invoke({ do: "echo", n: 1 }, headers);
    expect([first.status, await first.text()]).toEqual([202, ""]);
    const id = first.headers.get("x-amzn-requestid");
    const again = await invoke({ do: "echo", n: 1 }, headers);
    expect([again.status, again.headers.get("x-amzn-requestid")]).toEqual([202, id]);
    await eventually(async () => (await record(id)).status === "succeeded");
    expect(await record(id)).toMatchObject({ mode: "async", status: "succeeded" });
    const old = await send("/2014-11-13/functions/chaos/invoke-async/", "{}");
    expect([old.status, await old.text()]).toEqual([202, ""]);
    expect((await record(old.headers.get("x-amzn-requestid"))).mode).toBe("async");
  });

  test("the client context and the trace pass, and nothing else of the request does", async () => {
    const context = btoa('{"custom":{"a":1}}');
    const headers = { "X-Amz-Client-Context": context, "X-Amzn-Trace-Id": "Root=1", "X-Other": "1" };
    const id = (await invoke({ do: "echo" }, { ...headers, "X-Amz-Invocation-Type": "Event" })).headers.get(
      "x-amzn-requestid",
    );
    await eventually(async () => (await record(id)).status === "succeeded");
    expect(await errorOf(await invoke({}, { "X-Amz-Client-Context": "{}" }))).toMatchObject({
      status: 400,
      type: "InvalidRequestContentException",
    });
  });

  test.each<readonly [string, string, unknown, Record<string, string>, object]>([
    ["an unknown function", "none", {}, {}, { status: 404, type: "ResourceNotFoundException" }],
    ["an alias", "chaos:prod", {}, {}, { status: 404, type: "ResourceNotFoundException" }],
    ["an unknown version", "chaos:7", {}, {}, { status: 404, type: "ResourceNotFoundException" }],
    ["a malformed name", "a%20b", {}, {}, { status: 400, type: "InvalidParameterValueException" }],
    ["a large payload", "chaos", "x".repeat(65_537), {}, { status: 413, type: "RequestTooLargeException" }],
    ["an unknown type", "chaos", {}, { "X-Amz-Invocation-Type": "Later" }, { type: "InvalidParameterValueException" }],
  ])("%s is refused by AWS's name", async (_name, name, payload, headers, expected) => {
    expect(await errorOf(await invoke(payload, headers, name))).toMatchObject(expected);
  });
});

describe("all attempts of one call of a client", () => {
  const attempt = (id: string, payload: unknown, signal?: AbortSignal) =>
    send(`${FUNCTIONS}/chaos/invocations`, payload, {
      headers: { "amz-sdk-invocation-id": id, "amz-sdk-request": "attempt=1" },
      ...(signal && { signal }),
    });

  test("are one invocation, and belong to their key", async () => {
    const before = await recordCount();
    const [one, two] = await Promise.all([
      attempt("a", { do: "sleep", ms: 200 }),
      attempt("a", { do: "sleep", ms: 200 }),
    ]);
    const later = await attempt("a", { do: "sleep", ms: 200 });
    const ids = [one, two, later].map(({ headers }) => headers.get("x-amzn-requestid"));
    expect(new Set(ids).size).toBe(1);
    for (const each of [one, two, later]) expect(await each.json()).toEqual({ do: "sleep", ms: 200 });
    expect(await recordCount()).toBe(before + 1);
    const key = await makeKey(["invoke"]);
    const headers = { "amz-sdk-invocation-id": "a" };
    const other = await send(`${FUNCTIONS}/chaos/invocations`, { do: "sleep", ms: 200 }, { key, headers });
    expect(ids).not.toContain(other.headers.get("x-amzn-requestid"));
    expect(await errorOf(await attempt("a", { do: "echo" }))).toMatchObject({
      status: 400,
      type: "InvalidParameterValueException",
    });
  });

  test("go on when the client leaves, and a failure is remembered, too", async () => {
    const before = await recordCount();
    const leaving = new AbortController();
    const left = attempt("b", { do: "sleep", ms: 1_500 }, leaving.signal).catch((error: unknown) => error);
    await eventually(async () => (await recordCount()) === before + 1);
    leaving.abort();
    expect(await left).toBeInstanceOf(Error);
    const response = await attempt("b", { do: "sleep", ms: 1_500 });
    expect(await response.json()).toEqual({ do: "sleep", ms: 1_500 });
    expect(await record(response.headers.get("x-amzn-requestid"))).toMatchObject({ status: "succeeded" });
    const failures = [await attempt("c", { do: "exit", code: 3 }), await attempt("c", { do: "exit", code: 3 })];
    const [first, second] = await Promise.all(failures.map((each) => each.text()));
    expect(first).toContain("exit status 3");
    expect(second).toBe(first ?? "");
    expect(failures.map(({ headers }) => headers.get("x-amz-function-error"))).toEqual(["Unhandled", "Unhandled"]);
    expect(await recordCount()).toBe(before + 2);
  });

  test("have their answer after a restart", async () => {
    const first = await attempt("d", { do: "echo", kept: true });
    const id = first.headers.get("x-amzn-requestid");
    await server[Symbol.asyncDispose]();
    server = await start();
    const again = await attempt("d", { do: "echo", kept: true });
    expect([again.headers.get("x-amzn-requestid"), await again.json()]).toEqual([id, { do: "echo", kept: true }]);
  });
});

describe("the access key id", () => {
  test("is a key of this server, with its scopes", async () => {
    const refused = await errorOf(await send(FUNCTIONS, undefined, { key: "AKIAIOSFODNN7EXAMPLE" }));
    expect(refused).toMatchObject({ status: 403, type: "UnrecognizedClientException" });
    expect(await errorOf(await fetch(server.url + FUNCTIONS))).toMatchObject({ status: 403 });
    const denied = { status: 403, type: "AccessDeniedException" };
    const [invoking, reading] = [await makeKey(["invoke"]), await makeKey(["read"])];
    expect((await send(`${FUNCTIONS}/chaos/invocations`, "{}", { key: invoking })).status).toBe(200);
    expect(await errorOf(await send(FUNCTIONS, undefined, { key: invoking }))).toMatchObject(denied);
    expect((await send(FUNCTIONS, undefined, { key: reading })).status).toBe(200);
    expect(await errorOf(await send(`${FUNCTIONS}/chaos/invocations`, "{}", { key: reading }))).toMatchObject(denied);
    const change = send(`${FUNCTIONS}/chaos`, undefined, { method: "DELETE", key: reading });
    expect(await errorOf(await change)).toMatchObject(denied);
    const presigned = `${FUNCTIONS}/chaos/invocations?X-Amz-Credential=${encodeURIComponent(`${invoking}/20260101/us-east-1/lambda/aws4_request`)}`;
    expect((await fetch(server.url + presigned, { method: "POST", body: "{}" })).status).toBe(200);
  });

  test("of another function's key is refused", async () => {
    const other = await server.api<Function>("POST", "/v1/functions", { image, name: "other" }, bearer(ADMIN));
    const key = await makeKey(["invoke"], other.body.data.id);
    expect(await errorOf(await send(`${FUNCTIONS}/chaos/invocations`, "{}", { key }))).toMatchObject({
      status: 403,
      type: "AccessDeniedException",
    });
    await server.api("DELETE", "/v1/functions/other", undefined, bearer(ADMIN));
  });
});

describe("functions as AWS describes them", () => {
  const json = async (response: Promise<Response>) => (await response).json() as Promise<Record<string, unknown>>;

  test("are made, changed, published, listed by pages and deleted", async () => {
    const created = await send(FUNCTIONS, {
      FunctionName: "made",
      Role: "arn:aws:iam::000000000000:role/x",
      PackageType: "Image",
      Code: { ImageUri: image },
      Timeout: 7,
      MemorySize: 128,
      Environment: { Variables: { B: "2" } },
      Description: "mine",
      Tags: { team: "a" },
      ImageConfig: { Command: ["x"] },
      VpcConfig: { SubnetIds: [] },
    });
    expect(created.status).toBe(201);
    expect(await created.json()).toMatchObject({
      FunctionName: "made",
      FunctionArn: "arn:aws:lambda:us-east-1:000000000000:function:made",
      Version: "$LATEST",
      State: "Active",
      LastUpdateStatus: "Successful",
      PackageType: "Image",
      Timeout: 7,
      MemorySize: 128,
      Description: "mine",
      Environment: { Variables: { B: "2" } },
      ImageConfigResponse: { ImageConfig: { Command: ["x"] } },
    });
    expect(await json(send(`${FUNCTIONS}/made`))).toMatchObject({
      Code: { RepositoryType: "ECR", ImageUri: image },
      Tags: { team: "a" },
    });
    const change = { Timeout: 9, Description: "" };
    const before = await json(send(`${FUNCTIONS}/made/configuration`));
    const changed = await json(send(`${FUNCTIONS}/made/configuration`, change, { method: "PUT" }));
    expect(changed).toMatchObject({ Timeout: 9, Description: "", Environment: { Variables: { B: "2" } } });
    const stale = { Timeout: 8, RevisionId: before["RevisionId"] };
    expect(await errorOf(await send(`${FUNCTIONS}/made/configuration`, stale, { method: "PUT" }))).toMatchObject({
      status: 412,
      type: "PreconditionFailedException",
    });
    const code = await json(send(`${FUNCTIONS}/made/code`, { ImageUri: image, Publish: true }, { method: "PUT" }));
    expect(code).toMatchObject({ Version: "2" });
    const published = await send(`${FUNCTIONS}/made/versions`, {});
    expect([published.status, ((await published.json()) as { Version: string }).Version]).toEqual([201, "2"]);
    const versions = (await json(send(`${FUNCTIONS}/made/versions`)))["Versions"] as {
      Version: string;
      Timeout: number;
    }[]; // checked here
    expect(versions.map(({ Version, Timeout }) => [Version, Timeout])).toEqual([
      ["$LATEST", 9],
      ["2", 9],
      ["1", 7],
    ]);
    expect(await json(send(`${FUNCTIONS}/made:1/configuration`))).toMatchObject({ Version: "1", Timeout: 7 });
    const first = await json(send(`${FUNCTIONS}?MaxItems=1`));
    const rest = await json(
      send(`${FUNCTIONS}/?MaxItems=10&Marker=${encodeURIComponent(String(first["NextMarker"]))}`),
    );
    const names = [first, rest].flatMap((page) =>
      (page["Functions"] as { FunctionName: string }[]).map((one) => one.FunctionName),
    );
    expect(names).toEqual(["chaos", "made"]);
    expect(rest["NextMarker"]).toBeUndefined();
    const deleted = await send(`${FUNCTIONS}/made`, undefined, { method: "DELETE" });
    expect([deleted.status, await deleted.text()]).toEqual([204, ""]);
    expect((await send(`${FUNCTIONS}/made`)).status).toBe(404);
    const audit = await server.api<{ entries: { method: string; path: string }[] }>(
      "GET",
      "/v1/audit",
      undefined,
      bearer(ADMIN),
    );
    expect(JSON.stringify(audit.body.data)).toContain(`"path":"${FUNCTIONS}/made"`);
  });

  test.each<readonly [string, object, string]>([
    [
      "code that is no image",
      { FunctionName: "z", Code: { ZipFile: "UEs=" } },
      "Invalid ZipFile: functions here are images",
    ],
    ["no image", { FunctionName: "z", Code: {} }, "Missing Code.ImageUri"],
    [
      "a layer",
      { FunctionName: "z", Code: { ImageUri: "x" }, Layers: ["arn"] },
      "Invalid Layers: this server has nothing like it",
    ],
    ["another package", { FunctionName: "z", Code: { ImageUri: "x" }, PackageType: "Zip" }, "Invalid PackageType"],
    ["a name that we refuse", { FunctionName: "Upper_Case", Code: { ImageUri: "x" } }, 'Invalid "name"'],
    ["a misspelt field", { FunctionName: "z", Code: { ImageUri: "x" }, MemorySise: 1 }, 'did you mean "MemorySize"'],
  ])("%s is refused", async (_name, body, message) => {
    const error = await errorOf(await send(FUNCTIONS, body));
    expect(error).toMatchObject({ status: 400, type: "InvalidParameterValueException" });
    expect(error.message).toContain(message);
  });

  test("a name that is taken is in conflict", async () => {
    const body = { FunctionName: "chaos", Code: { ImageUri: image } };
    expect(await errorOf(await send(FUNCTIONS, body))).toMatchObject({
      status: 409,
      type: "ResourceConflictException",
    });
  });
});

test.each([
  ["GET", `${FUNCTIONS}/chaos/policy`, 501, "GetPolicy"],
  ["GET", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Achaos", 501, "ListTags"],
  ["POST", "/2015-03-31/event-source-mappings", 501, "CreateEventSourceMapping"],
  ["PATCH", `${FUNCTIONS}/chaos`, 404, "PATCH"],
  ["GET", "/2015-03-31/nothing", 404, "/2015-03-31/nothing"],
])("%s %s is answered with %i and its name", async (method, path, status, name) => {
  const error = await errorOf(await send(path, method === "GET" ? undefined : "{}", { method }));
  expect(error.status).toBe(status);
  expect(error.message).toContain(name);
});

import {
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from "@aws-sdk/client-lambda";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { awsPrograms } from "../../../.ci/engine/programs/program-roots.ts";
import { requireProgram } from "../../../.ci/packages.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** The client's patience and the function's time in seconds. The issue's own numbers: AWS_PATIENCE=2,7. */
const [PATIENCE_S = 1, SLOW_S = 3] = (process.env["AWS_PATIENCE"] ?? "1,3").split(",").map(Number);

/** Fakes, as clients do not go without; no metadata service is asked for others. */
const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: "fake",
  AWS_SECRET_ACCESS_KEY: "fake",
  AWS_DEFAULT_REGION: "eu-west-1",
  AWS_EC2_METADATA_DISABLED: "true",
};

/** A program that takes its time, and then fails as functions of AWS do. */
const SLOW = `cat >/dev/null; sleep ${SLOW_S}; echo '{"errorType":"Boom","errorMessage":"too late"}'; exit 1`;
/** The most calls of which one must meet no such moment. */
const MOST_TRIES = 4;
const SLOWLY_THROWN = { errorType: "Boom", errorMessage: "too late" };
/** A program that waits for the test between the second piece of its output and the third. */
const STREAMING =
  "cat >/dev/null; printf one; sleep 0.2; printf two; wget -q -O /dev/null \"http://$(ip route | awk '/default/{print $3}'):$PORT/\" && printf three";

let server: TestServer;
let image: string;
let root: string;

beforeAll(async () => {
  [server, image, root] = await Promise.all([TestServer.start(), fixture("chaos"), awsPrograms()]);
});
afterAll(() => server[Symbol.asyncDispose]());

function program(name: string, script: string, settings: Partial<Function> = {}): Promise<Function> {
  const command = { contract: "stdio" } as const;
  return server.createFunction(image, { name, ...command, entrypoint: ["sh", "-c"], command: [script], ...settings });
}

/** Runs a program of Debian in the root that has it, and returns what it prints. */
async function run(command: readonly string[], stdin: Blob | "ignore" = "ignore"): Promise<string> {
  const child = Bun.spawn([requireProgram("chroot"), root, ...command], {
    env: { PATH: "/usr/bin", HOME: "/tmp", ...CREDENTIALS, AWS_MAX_ATTEMPTS: "30", AWS_RETRY_MODE: "standard" },
    stdin,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([code, stderr]).toEqual([0, expect.not.stringContaining("rror")]);
  return stdout;
}

/** Runs a script of this folder with Debian's Python, and returns the JSON that it prints. */
async function runPython(name: string, ...args: readonly string[]): Promise<unknown> {
  const script = await Bun.file(join(import.meta.dir, name)).text();
  return JSON.parse(await run(["/usr/bin/python3", "-", ...args], new Blob([script])));
}

async function runsOf(name: string): Promise<Invocation[]> {
  const page = await server.api<InvocationPage>("GET", `/v1/invocations?function_id=${name}`);
  return page.body.data.invocations;
}

/** One call of a client that has given up before the function ended, and has asked again. */
async function expectOneRun(name: string): Promise<void> {
  const runs = await runsOf(name);
  expect(runs).toMatchObject([{ attempts: 1, exit_code: 1, status: "failed", undelivered: "client_closed" }]);
  expect(runs[0]?.run_ms).toBeGreaterThan(SLOW_S * 1_000);
}

describe("the AWS CLI", () => {
  test("gets the failure of a slow function, which has run once, though each attempt gave up", async () => {
    const options = ["--endpoint-url", server.url, "--cli-read-timeout", String(PATIENCE_S), "--output", "json"];
    // Its calls have no id. If it gives up in the moment of the answer, the server cannot know, and it is tried again.
    for (let tries = 1; ; tries++) {
      const name = `slow-cli-${tries}`;
      await program(name, SLOW, { timeout_ms: 60_000 });
      const invoke = ["lambda", "invoke", "--function-name", name, "--log-type", "Tail", "/tmp/slow-cli.json"];
      const printed: unknown = JSON.parse(await run(["/usr/bin/aws", ...options, ...invoke]));
      expect(printed).toMatchObject({ StatusCode: 200, FunctionError: "Unhandled", ExecutedVersion: "$LATEST" });
      expect(await Bun.file(join(root, "tmp/slow-cli.json")).json()).toEqual(SLOWLY_THROWN);
      if ((await runsOf(name)).length > 1 && tries < MOST_TRIES) continue;
      return expectOneRun(name);
    }
  });
});

describe("boto3", () => {
  test("makes, changes, calls, lists and deletes functions, with waiters and pages", async () => {
    await program("slow-boto3", SLOW, { timeout_ms: 60_000 });
    const printed = await runPython("client.py", server.url, image, "slow-boto3", String(PATIENCE_S));
    expect(printed).toMatchObject({
      created: ["made", "1", "Active"],
      names: expect.arrayContaining(["slow-boto3", "made"]),
      image,
      versions: ["$LATEST", "2", "1"],
      thrown: { error: "Unhandled", payload: { errorType: "Runtime.ExitError" }, retries: 0 },
      qualified: { error: null, payload: { a: 1 } },
      event: 202,
      unknown: "ResourceNotFoundException",
      unserved: "NotImplementedException",
      slow: { error: "Unhandled", payload: SLOWLY_THROWN },
      deleted: 204,
    });
    const { thrown } = printed as { thrown: { id: string } }; // as above
    expect(await server.invocation(thrown.id)).toMatchObject({ status: "failed", exit_code: 3, attempts: 1 });
    await expectOneRun("slow-boto3");
  });

  test("has a parser of event streams that reads those of this server", async () => {
    await program("pieces", "cat >/dev/null; echo seen >&2; printf one; sleep 1; printf two; exit 4", {
      stream: true,
    });
    const { status, type, events } = (await runPython("event_stream.py", server.url, "pieces")) as {
      status: number;
      type: string;
      events: { headers: object; payload: string }[];
    }; // as the script has it
    expect([status, type]).toEqual([200, "application/vnd.amazon.eventstream"]);
    const chunk = {
      ":message-type": "event",
      ":event-type": "PayloadChunk",
      ":content-type": "application/octet-stream",
    };
    expect(events.slice(0, -1).map(({ headers }) => headers)).toEqual([chunk, chunk]);
    expect(events.slice(0, -1).map(({ payload }) => payload)).toEqual(["one", "two"]);
    const last = events.at(-1);
    expect(last?.headers).toEqual({ ...chunk, ":event-type": "InvokeComplete", ":content-type": "application/json" });
    expect(JSON.parse(last?.payload ?? "")).toEqual({
      ErrorCode: "Runtime.ExitError",
      ErrorDetails: expect.stringContaining("exit status 4"),
      LogResult: btoa("seen\n"),
    });
  });
});

describe("@aws-sdk/client-lambda", () => {
  const clientWith = (options: ConstructorParameters<typeof LambdaClient>[0] = {}) =>
    new LambdaClient({
      endpoint: server.url,
      region: "eu-west-1",
      credentials: { accessKeyId: "fake", secretAccessKey: "fake" },
      ...options,
    });

  test("gets the failure of a function that throws at once, or slowly, after one run", async () => {
    await program("throws", "cat >/dev/null; exit 3");
    const thrown = await clientWith().send(new InvokeCommand({ FunctionName: "throws", Payload: "{}" }));
    expect(thrown.FunctionError).toBe("Unhandled");
    expect(thrown.Payload?.transformToString()).toContain("exit status 3");
    expect(await runsOf("throws")).toHaveLength(1);
    await program("slow-js", SLOW, { timeout_ms: 60_000 });
    const handler = { requestTimeout: PATIENCE_S * 1_000, throwOnRequestTimeout: true };
    const impatient = clientWith({ maxAttempts: 30, requestHandler: handler });
    const slow = await impatient.send(new InvokeCommand({ FunctionName: "slow-js", Payload: "{}" }));
    expect(slow.FunctionError).toBe("Unhandled");
    expect(JSON.parse(slow.Payload?.transformToString() ?? "")).toEqual(SLOWLY_THROWN);
    expect(slow.$metadata.attempts).toBeGreaterThan(1);
    await expectOneRun("slow-js");
  });

  test("waits for functions, and sees the second piece of an answer before its end", async () => {
    const seen = Promise.withResolvers<void>();
    using gate = Bun.serve({
      port: 0,
      hostname: "0.0.0.0",
      fetch: () => seen.promise.then(() => new Response()),
    });
    const environment = { PORT: String(gate.port) };
    await program("streams", STREAMING, { stream: true, network: "bridge", environment, timeout_ms: 60_000 });
    const client = clientWith();
    await waitUntilFunctionActiveV2({ client, maxWaitTime: 60 }, { FunctionName: "streams" });
    await client.send(new UpdateFunctionConfigurationCommand({ FunctionName: "streams", Description: "x" }));
    await waitUntilFunctionUpdatedV2({ client, maxWaitTime: 60 }, { FunctionName: "streams" });
    const { EventStream, ExecutedVersion } = await client.send(
      new InvokeWithResponseStreamCommand({ FunctionName: "streams", Payload: "{}", LogType: "Tail" }),
    );
    let text = "";
    const ends: unknown[] = [];
    for await (const { PayloadChunk, InvokeComplete } of EventStream ?? []) {
      text += Buffer.from(PayloadChunk?.Payload ?? []).toString();
      if (InvokeComplete !== undefined) ends.push(InvokeComplete);
      // Only now the function may go on.
      if (text === "onetwo") seen.resolve();
    }
    expect(text).toBe("onetwothree");
    expect(ExecutedVersion).toBe("$LATEST");
    expect(ends).toMatchObject([{ LogResult: "" }]);
    expect(Object.keys(ends[0] ?? {})).not.toContain("ErrorCode");
    expect(await runsOf("streams")).toMatchObject([{ status: "succeeded" }]);
  });

  test("is told at the end of a stream that the function has failed", async () => {
    await program("fails-late", "cat >/dev/null; echo begun; exit 4", { stream: true });
    const { EventStream } = await clientWith().send(
      new InvokeWithResponseStreamCommand({ FunctionName: "fails-late", Payload: "{}" }),
    );
    const events = await Array.fromAsync(EventStream ?? []);
    expect(events.at(-1)?.InvokeComplete).toMatchObject({ ErrorCode: "Runtime.ExitError" });
    expect(await runsOf("fails-late")).toHaveLength(1);
  });
});

import { InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ContractName, isBooted } from "../../../lib/domain/functions/contract.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { type FixtureName, fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { RUNTIME } from "../lambda/lambda-function.ts";

/** A web server that prints, fails, or holds the second piece of its answer until another request has come. */
const SERVER = `
const go = Promise.withResolvers();
Bun.serve({ port: 8080, idleTimeout: 0, async fetch(request) {
  const { fail, hold, go: isGo } = await request.json();
  console.log("printed");
  if (isGo) go.resolve();
  if (fail) return new Response("no tea", { status: 418 });
  if (!hold) return Response.json({ path: new URL(request.url).pathname, method: request.method });
  return new Response(async function* () { yield "one"; await go.promise; yield "two"; });
} });
`;

interface Made {
  readonly image: FixtureName;
  readonly settings: Partial<Function>;
  /** A payload, what its answer has, and what is printed. */
  readonly succeeds: readonly [payload: object, answer: object, printed: string];
  readonly fails: readonly [payload: object, failure: object];
}

/** A function of each contract. */
const FUNCTIONS: Readonly<Record<ContractName, Made>> = {
  files: {
    image: "static",
    settings: {},
    succeeds: [{ do: "log", text: "printed" }, { logged: 7 }, "printed"],
    fails: [
      { do: "exit", code: 3 },
      { errorType: "Runtime.ExitError", errorMessage: expect.stringContaining("status 3") },
    ],
  },
  stdio: {
    image: "shell",
    settings: {
      entrypoint: ["sh", "-c"],
      command: ['echo printed >&2; read line; echo "$line"; case $line in *4*) exit 4; esac'],
    },
    succeeds: [{ a: 1 }, { a: 1 }, "printed\n"],
    fails: [
      { errorType: "Mine", errorMessage: "4" },
      { errorType: "Mine", errorMessage: "4" },
    ],
  },
  http: {
    image: "bun",
    settings: { command: ["bun", "-e", SERVER] },
    succeeds: [{}, { path: "/", method: "POST" }, "printed\n"],
    fails: [{ fail: true }, { errorType: "Function.Status418", errorMessage: "no tea" }],
  },
  lambda: {
    image: "bun",
    settings: { command: ["bun", "-e", RUNTIME], max_calls: 0 },
    // The last lines of its log, as AWS has them.
    succeeds: [{ a: 1 }, { event: { a: 1 } }, "REPORT RequestId: "],
    fails: [{ fail: "no such user" }, { errorType: "TypeError", errorMessage: "no such user" }],
  },
};

let server: TestServer;
let client: LambdaClient;

beforeAll(async () => {
  server = await TestServer.start();
  const credentials = { accessKeyId: "fake", secretAccessKey: "fake" };
  client = new LambdaClient({ endpoint: server.url, region: "eu-west-1", credentials });
});
afterAll(() => server[Symbol.asyncDispose]());

const textOf = (payload: { transformToString: () => string } | undefined) => payload?.transformToString() ?? "";

const textIn = (entries: readonly { readonly text: string }[]) => entries.map(({ text }) => text).join("");

describe.each(Object.keys(FUNCTIONS) as ContractName[])(
  "a function of the contract %s is called by @aws-sdk/client-lambda",
  (contract) => {
    const { image, settings, succeeds, fails } = FUNCTIONS[contract];
    const [payload, answer, printed] = succeeds;
    const invoke = (given: object, options: object = {}) =>
      client.send(new InvokeCommand({ FunctionName: `of-${contract}`, Payload: JSON.stringify(given), ...options }));

    test("for its answer, with the end of its log", async () => {
      await server.createFunction(await fixture(image), { name: `of-${contract}`, contract, ...settings });
      const { StatusCode, FunctionError, ExecutedVersion, Payload, LogResult, $metadata } = await invoke(payload, {
        LogType: "Tail",
      });
      expect([StatusCode, FunctionError, ExecutedVersion]).toEqual([200, undefined, "$LATEST"]);
      expect(JSON.parse(textOf(Payload))).toMatchObject(answer);
      const id = $metadata.requestId ?? "";
      // What a server prints may come after its answer.
      if (isBooted(contract)) await eventually(async () => textIn((await server.logs(id)).entries).includes(printed));
      const log = isBooted(contract) ? textIn((await server.logs(id)).entries) : atob(LogResult ?? "");
      expect([log, LogResult]).toEqual([expect.stringContaining(printed), expect.any(String)]);
    });

    test("and fails", async () => {
      const { StatusCode, FunctionError, Payload, $metadata } = await invoke(fails[0]);
      expect([StatusCode, FunctionError, $metadata.attempts]).toEqual([200, "Unhandled", 1]);
      expect(JSON.parse(textOf(Payload))).toEqual(fails[1]);
      expect(await server.invocation($metadata.requestId ?? "")).toMatchObject({ attempts: 1, contract });
    });

    test("later, and only to check", async () => {
      const { StatusCode, Payload, $metadata } = await invoke(payload, { InvocationType: "Event" });
      expect([StatusCode, textOf(Payload)]).toEqual([202, ""]);
      const id = $metadata.requestId ?? "";
      await eventually(async () => (await server.invocation(id)).finished_at !== null);
      expect(await server.invocation(id)).toMatchObject({ status: "succeeded", mode: "async", contract });
      expect((await invoke(payload, { InvocationType: "DryRun" })).StatusCode).toBe(204);
    });

    test("as a stream", async () => {
      const command = { FunctionName: `of-${contract}`, Payload: JSON.stringify(payload), LogType: "Tail" } as const;
      const { EventStream } = await client.send(new InvokeWithResponseStreamCommand(command));
      const events = await Array.fromAsync(EventStream ?? []);
      const pieces = events.map(({ PayloadChunk }) => Buffer.from(PayloadChunk?.Payload ?? []).toString());
      expect(JSON.parse(pieces.join(""))).toMatchObject(answer);
      expect(events.at(-1)?.InvokeComplete).toMatchObject({ LogResult: expect.any(String) });
      expect(events.at(-1)?.InvokeComplete?.ErrorCode).toBeUndefined();
    });
  },
);

test("the first piece of a web server's answer is there before the second is made", async () => {
  const settings: Partial<Function> = { contract: "http", command: ["bun", "-e", SERVER] };
  await server.createFunction(await fixture("bun"), { name: "kept", ...settings, max_calls: 0, concurrency: 2 });
  const send = (payload: object) =>
    client.send(new InvokeWithResponseStreamCommand({ FunctionName: "kept", Payload: JSON.stringify(payload) }));
  const { EventStream } = await send({ hold: true });
  let text = "";
  for await (const { PayloadChunk } of EventStream ?? []) {
    text += Buffer.from(PayloadChunk?.Payload ?? []).toString();
    // Only now the second piece is made, by another call of the same instance.
    if (text === "one") await Array.fromAsync((await send({ go: true })).EventStream ?? []);
  }
  expect(text).toBe("onetwo");
});

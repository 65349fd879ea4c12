import { InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ContractName } from "../../../lib/domain/functions/contract.ts";
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
  /** A payload, what its answer has, and all that is in the log of the call. */
  readonly succeeds: readonly [payload: object, answer: object, log: (id: string) => RegExp];
  readonly fails: readonly [payload: object, failure: object];
}

/** A function of each contract. */
const FUNCTIONS: Readonly<Record<ContractName, Made>> = {
  files: {
    image: "static",
    settings: {},
    succeeds: [{ do: "log", text: "printed" }, { logged: 7 }, () => /^printed$/],
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
    succeeds: [{ a: 1 }, { a: 1 }, () => /^printed\n$/],
    fails: [
      { errorType: "Mine", errorMessage: "4" },
      { errorType: "Mine", errorMessage: "4" },
    ],
  },
  http: {
    image: "bun",
    settings: { command: ["bun", "-e", SERVER] },
    succeeds: [{}, { path: "/", method: "POST" }, () => /^printed\n$/],
    fails: [{ fail: true }, { errorType: "Function.Status418", errorMessage: "no tea" }],
  },
  lambda: {
    image: "bun",
    settings: { command: ["bun", "-e", RUNTIME], max_calls: 0 },
    // As AWS has them; the first call has the output of the boot, too.
    succeeds: [
      { a: 1 },
      { event: { a: 1 } },
      (id) =>
        new RegExp(
          `^(starting\\n)?START RequestId: ${id} Version: 1\\nevent \\{"a":1\\}\\nEND RequestId: ${id}\\nREPORT RequestId: ${id}\\t.*\\n$`,
        ),
    ],
    fails: [{ fail: "no such user" }, { errorType: "TypeError", errorMessage: "no such user" }],
  },
};

let server: TestServer;
let client: LambdaClient;

beforeAll(async () => {
  server = await TestServer.start();
  client = clientOf(server);
});
afterAll(() => server[Symbol.asyncDispose]());

function clientOf({ url }: TestServer): LambdaClient {
  const credentials = { accessKeyId: "fake", secretAccessKey: "fake" };
  return new LambdaClient({ endpoint: url, region: "eu-west-1", credentials });
}

const textOf = (payload: { transformToString: () => string } | undefined) => payload?.transformToString() ?? "";

const textIn = (entries: readonly { readonly text: string }[]) => entries.map(({ text }) => text).join("");

describe.each(Object.keys(FUNCTIONS) as ContractName[])(
  "a function of the contract %s is called by @aws-sdk/client-lambda",
  (contract) => {
    const { image, settings, succeeds, fails } = FUNCTIONS[contract];
    const [payload, answer, log] = succeeds;
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
      expect(atob(LogResult ?? "")).toMatch(log(id));
      expect(textIn((await server.logs(id)).entries)).toMatch(log(id));
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
      const { EventStream, $metadata } = await client.send(new InvokeWithResponseStreamCommand(command));
      const events = await Array.fromAsync(EventStream ?? []);
      const pieces = events.map(({ PayloadChunk }) => Buffer.from(PayloadChunk?.Payload ?? []).toString());
      expect(JSON.parse(pieces.join(""))).toMatchObject(answer);
      expect(atob(events.at(-1)?.InvokeComplete?.LogResult ?? "")).toMatch(log($metadata.requestId ?? ""));
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

/** A web server, and a runtime, that print in front of their answers and behind them. */
const PRINTERS = {
  http: `
Bun.serve({ port: 8080, async fetch(request) {
  const { n } = await request.json();
  console.log("call", n);
  return Response.json({ n });
} });
`,
  lambda: `
const api = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/invocation/";
for (;;) {
  const next = await fetch(api + "next");
  const { n } = await next.json();
  console.log("call", n);
  await fetch(api + next.headers.get("lambda-runtime-aws-request-id") + "/response", { method: "POST", body: "{}" });
  await Bun.sleep(50);
  console.log("late", n);
}
`,
} as const;

describe.each(["http", "lambda"] as const)("the log of a call of a function of the contract %s", (contract) => {
  const CALLS = 10;
  const expected = (n: number, id: string) =>
    contract === "http"
      ? [`call ${n}`]
      : [
          `START RequestId: ${id} Version: 1`,
          `call ${n}`,
          `late ${n}`,
          `END RequestId: ${id}`,
          `REPORT RequestId: ${id}`,
        ];
  const linesOf = (log: string | undefined) => {
    const lines = atob(log ?? "")
      .split("\n")
      .slice(0, -1);
    // The measurements of REPORT come behind its id.
    return lines.map((line) => (line.startsWith("REPORT") ? (line.split("\t")[0] ?? "") : line));
  };
  const FunctionName = `prints-${contract}`;
  const command = (n: number) => ({ FunctionName, Payload: JSON.stringify({ n }), LogType: "Tail" }) as const;

  test("has its own lines and all of them, from the first call to the last, whichever way it is asked for", async () => {
    await using warm = await TestServer.start({ WARM_MAX: "1" });
    const settings: Partial<Function> = { contract, command: ["bun", "-e", PRINTERS[contract]], max_calls: 0 };
    await warm.createFunction(await fixture("bun"), { name: FunctionName, ...settings });
    const caller = clientOf(warm);
    const starts: unknown[] = [];
    for (let n = 0; n < CALLS; n += 2) {
      const { LogResult, $metadata } = await caller.send(new InvokeCommand(command(n)));
      expect(linesOf(LogResult)).toEqual(expected(n, $metadata.requestId ?? ""));
      const streamed = await caller.send(new InvokeWithResponseStreamCommand(command(n + 1)));
      const last = (await Array.fromAsync(streamed.EventStream ?? [])).at(-1)?.InvokeComplete;
      expect(linesOf(last?.LogResult)).toEqual(expected(n + 1, streamed.$metadata.requestId ?? ""));
      starts.push((await warm.invocation(streamed.$metadata.requestId ?? "")).start);
    }
    // Calls of one instance: a line of one must not be another's.
    expect(starts).not.toContain("cold");
  });

  test("has them also if the instance ends with the call", async () => {
    const settings: Partial<Function> = { contract, command: ["bun", "-e", PRINTERS[contract]], max_calls: 1 };
    await server.createFunction(await fixture("bun"), { name: `${FunctionName}-once`, ...settings });
    const once = { ...command(7), FunctionName: `${FunctionName}-once` };
    const { LogResult, $metadata } = await client.send(new InvokeCommand(once));
    expect(linesOf(LogResult)).toEqual(expected(7, $metadata.requestId ?? ""));
  });
});

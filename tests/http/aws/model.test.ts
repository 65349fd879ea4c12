import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { awsPrograms } from "../../../.ci/engine/programs/program-roots.ts";
import { AppError, REASONS } from "../../../lib/domain/errors.ts";
import { awsError } from "../../../lib/http/aws/wire/errors.ts";
import { type Served, SERVED } from "../../../lib/http/aws/wire/operations.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { type Answered, type InputMember, LambdaModel } from "./support/lambda-model.ts";

/** The model of Debian's botocore; AWS_MODEL names the file of a newer one. */
const MODEL = "usr/lib/python3/dist-packages/botocore/data/lambda/2015-03-31/service-2.json";
const MANUAL = join(import.meta.dir, "../../../lib/docs/clients/aws-clients.md");

/** Errors that AWS's services have in common, or that HTTP has: they are in no model. */
const COMMON_ERRORS: ReadonlySet<string> = new Set([
  "AccessDeniedException",
  "ClientClosedRequest",
  "NotImplementedException",
  "RequestTimeoutException",
  "ServiceUnavailableException",
  "UnrecognizedClientException",
]);

let model: LambdaModel;
let server: TestServer;
let image: string;

beforeAll(async () => {
  const given = process.env["AWS_MODEL"];
  const path = given ?? join(await awsPrograms(), MODEL);
  [model, server, image] = await Promise.all([LambdaModel.read(path), TestServer.start(), fixture("static")]);
});
afterAll(() => server[Symbol.asyncDispose]());

interface Sent {
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Record<string, string>;
}

/** Asks for an operation as the model says how. A body that is no text is sent as JSON. */
async function ask(name: Served, subject: string, body?: unknown, { query = "", headers = {} }: Sent = {}) {
  const { http } = model.operations[name] ?? { http: { method: "", requestUri: "" } };
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const path = http.requestUri.replace("{FunctionName}", subject) + query;
  const init = { method: http.method, headers, timeout: false, ...(text !== undefined && { body: text }) } as const;
  const response = await fetch(server.url + path, init);
  return { status: response.status, headers: response.headers, body: new Uint8Array(await response.arrayBuffer()) };
}

const json = ({ body }: Answered) => JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>; // checked by its reader

/** Asks for an operation, and expects what the model says. */
async function expectAnswer(...asked: Parameters<typeof ask>): Promise<Answered> {
  const answer = await ask(...asked);
  expect(model.problems(asked[0], answer)).toEqual([]);
  return answer;
}

/** Asks for an operation, and expects that error, as the model says. */
async function expectError(type: string, ...asked: Parameters<typeof ask>): Promise<void> {
  const answer = await ask(...asked);
  expect(answer.headers.get("x-amzn-errortype")).toBe(type);
  expect(model.errorProblems(asked[0], answer)).toEqual([]);
}

const CREATED = { Role: "arn:aws:iam::000000000000:role/x", Timeout: 60, Publish: true };

describe("answers are as AWS's model has them", () => {
  test("of calls", async () => {
    await expectAnswer("CreateFunction", "", { FunctionName: "called", Code: { ImageUri: image }, ...CREATED });
    const tail = { headers: { "X-Amz-Log-Type": "Tail" } };
    const ok = await expectAnswer("Invoke", "called", { do: "log", text: "printed" }, tail);
    expect(ok.headers.get("x-amz-log-result")).toBe(btoa("printed"));
    const failed = await expectAnswer("Invoke", "called", { do: "exit", code: 3 });
    expect(failed.headers.get("x-amz-function-error")).toBe("Unhandled");
    for (const [type, status] of [["Event", 202] as const, ["DryRun", 204] as const]) {
      const answer = await expectAnswer("Invoke", "called", {}, { headers: { "X-Amz-Invocation-Type": type } });
      expect([answer.status, answer.body.length]).toEqual([status, 0]);
    }
    await expectAnswer("InvokeAsync", "called", {});
    // Debian's model is older than the operation.
    if (model.operations["InvokeWithResponseStream"] !== undefined)
      await expectAnswer("InvokeWithResponseStream", "called", {}, tail);
    await expectError("ResourceNotFoundException", "Invoke", "nothing", {});
    await expectError("InvalidParameterValueException", "Invoke", "a%20b", {});
    await expectError(
      "InvalidRequestContentException",
      "Invoke",
      "called",
      {},
      { headers: { "X-Amz-Client-Context": "{}" } },
    );
    await expectError("ResourceNotFoundException", "InvokeAsync", "nothing", {});
  });

  test("of functions", async () => {
    const settings = { Description: "d", MemorySize: 128, Environment: { Variables: { A: "1" } }, Tags: { team: "a" } };
    const given = { ImageConfig: { Command: ["x"], EntryPoint: ["/chaos"], WorkingDirectory: "/" }, ...settings };
    const body = { FunctionName: "made", Code: { ImageUri: image }, ...CREATED, ...given };
    await expectAnswer("CreateFunction", "", body);
    const { RevisionId, LastModified } = json(await expectAnswer("GetFunctionConfiguration", "made"));
    // As the documentation of its type has it.
    expect(LastModified).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/);
    await server.api("PATCH", "/v1/functions/made", { max_concurrency: 3 });
    const full = await expectAnswer("GetFunction", "made");
    expect(Object.keys(json(full))).toEqual(["Configuration", "Code", "Tags", "Concurrency"]);
    await expectAnswer("GetFunction", "made:1");
    await expectAnswer("UpdateFunctionConfiguration", "made", { Timeout: 7 });
    await expectAnswer("UpdateFunctionCode", "made", { ImageUri: image, Publish: true });
    await expectAnswer("UpdateFunctionCode", "made", { ImageUri: image, DryRun: true });
    await expectAnswer("PublishVersion", "made", {});
    const first = json(await expectAnswer("ListFunctions", "", undefined, { query: "?MaxItems=1" }));
    expect(first["NextMarker"]).toBeString();
    await expectAnswer("ListFunctions", "");
    await expectAnswer("ListVersionsByFunction", "made");

    await expectError("ResourceConflictException", "CreateFunction", "", body);
    await expectError("InvalidParameterValueException", "CreateFunction", "", { FunctionName: "x", Code: {} });
    for (const name of ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"] as const)
      await expectError("PreconditionFailedException", name, "made", { RevisionId });
    await expectError("InvalidParameterValueException", "PublishVersion", "made", { CodeSha256: "0" });
    await expectError("InvalidParameterValueException", "ListFunctions", "", undefined, { query: "?MaxItems=0" });
    for (const name of SERVED.filter((one) => !["CreateFunction", "ListFunctions"].includes(one)))
      if (model.operations[name] !== undefined) await expectError("ResourceNotFoundException", name, "nothing");
    await expectAnswer("DeleteFunction", "made");
  });

  test.each(REASONS)("of an error whose reason is %s", async (reason) => {
    const answer = awsError(new AppError(reason, "why"), { request_id: "1" });
    const type = answer.headers.get("x-amzn-errortype") ?? "";
    const { status, headers } = answer;
    const told = { status, headers, body: new Uint8Array(await answer.arrayBuffer()) };
    if (COMMON_ERRORS.has(type)) expect(json(told)["Type"]).toBe(status < 500 ? "User" : "Service");
    else expect(model.errorProblems("UpdateFunctionCode", told).filter((one) => !one.startsWith("Update"))).toEqual([]);
  });
});

const SETTINGS = ["Description", "Timeout", "MemorySize", "Environment", "ImageConfig"];

/** The members of requests that have a meaning here; the manual lists the others. */
const USED: Readonly<Record<Served, readonly string[]>> = {
  Invoke: ["FunctionName", "InvocationType", "LogType", "ClientContext", "Payload", "Qualifier"],
  InvokeWithResponseStream: ["FunctionName", "InvocationType", "LogType", "ClientContext", "Payload", "Qualifier"],
  InvokeAsync: ["FunctionName", "InvokeArgs"],
  ListFunctions: ["Marker", "MaxItems"],
  GetFunction: ["FunctionName", "Qualifier"],
  GetFunctionConfiguration: ["FunctionName", "Qualifier"],
  CreateFunction: ["FunctionName", "Code", "PackageType", "Publish", "Tags", ...SETTINGS],
  UpdateFunctionCode: ["FunctionName", "ImageUri", "Publish", "DryRun", "RevisionId"],
  UpdateFunctionConfiguration: ["FunctionName", "RevisionId", ...SETTINGS],
  DeleteFunction: ["FunctionName", "Qualifier"],
  PublishVersion: ["FunctionName", "CodeSha256", "RevisionId"],
  ListVersionsByFunction: ["FunctionName", "Marker", "MaxItems"],
};

/** The further needs of an operation. */
const LEAST: Readonly<Partial<Record<Served, () => object>>> = {
  CreateFunction: () => ({ FunctionName: "taken", Code: { ImageUri: image } }),
  UpdateFunctionCode: () => ({ ImageUri: image, DryRun: true }),
};

test("every other member of a request is ignored or refused, as the manual says", async () => {
  await server.createFunction(image, { name: "taken" });
  const manual = await Bun.file(MANUAL).text();
  const row = (verb: string) => manual.split("\n").find((line) => line.startsWith(`| ${verb} |`)) ?? "";
  const [ignored, refused] = [row("ignored"), row("refused")];
  const wrong: string[] = [];
  for (const name of SERVED.filter((one) => model.operations[one] !== undefined)) {
    for (const member of model.inputMembers(name).filter((one) => !USED[name].includes(one.name))) {
      const { status, headers, body } = await askWith(name, member);
      const text = Buffer.from(body).toString();
      const isRefused = status === 400 && text.includes(member.name);
      // A function of that name is there: all else is well.
      const isIgnored = status < 300 || headers.get("x-amzn-errortype") === "ResourceConflictException";
      const isListed = (isRefused ? refused : ignored).includes(`\`${member.name}\``);
      if (isRefused === isIgnored || !isListed) wrong.push(`${name}.${member.name}: ${status} ${text.slice(0, 200)}`);
    }
  }
  expect(wrong).toEqual([]);
});

function askWith(name: Served, { location, locationName, sample }: InputMember): Promise<Answered> {
  const subject = name === "CreateFunction" || name === "ListFunctions" ? "" : "taken";
  const least = LEAST[name]?.();
  if (location === "body") return ask(name, subject, { ...least, [locationName]: sample });
  if (location === "querystring")
    return ask(name, subject, least, { query: `?${locationName}=${encodeURIComponent(String(sample))}` });
  return ask(name, subject, {}, { headers: { [locationName]: String(sample) } });
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { REASONS } from "../../../lib/domain/errors.ts";
import { prefersProblem, problemDetails } from "../../../lib/http/wire/problem-details.ts";
import { TestServer } from "../../support/server.ts";
import { OpenApiDocument } from "../support/openapi-document.ts";

const PROBLEM = "application/problem+json";

describe("prefersProblem", () => {
  test.each<readonly [string | null, boolean]>([
    [null, false],
    ["", false],
    ["*/*", false],
    ["application/*", false],
    ["application/json", false],
    ["text/html,application/xhtml+xml,*/*;q=0.8", false],
    [PROBLEM, true],
    ["Application/Problem+JSON", true],
    [`${PROBLEM}, */*`, true],
    [`application/json, ${PROBLEM}`, true],
    [`${PROBLEM};q=0.9, application/json`, false],
    [`${PROBLEM};q=0.9, application/json;q=0.8`, true],
    [`application/json;q=0.4 , ${PROBLEM} ; q=0.5`, true],
    [`${PROBLEM};q=0`, false],
    [`${PROBLEM};q=0, application/json`, false],
    [`${PROBLEM};q=0.5, application/*`, false],
    [`${PROBLEM};q=0.5, application/json;q=0.1, */*`, true],
    [`${PROBLEM};charset=utf-8`, true],
    [`${PROBLEM};q=2`, false],
    [`${PROBLEM};q=x, application/json;q=0`, false],
    ["application/problem+jsonx", false],
  ])("of %j is %p", (accept, expected) => {
    expect(prefersProblem(accept)).toBe(expected);
  });
});

test.each(REASONS.map((reason) => [reason]))("problemDetails of %s has its own type and title", (reason) => {
  const problem = problemDetails({ reason, message: "What and why" }, 400, "7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55");
  expect(problem.type).toBe(`urn:slipway:reason:${reason}`);
  expect(problem.title).toMatch(/^[A-Z][a-z ]+$/);
  expect(problem).toMatchObject({ status: 400, detail: "What and why", reason });
});

describe("a server", () => {
  let server: TestServer;
  let document: OpenApiDocument;

  beforeAll(async () => {
    server = await TestServer.start();
    document = await OpenApiDocument.of(server.url, "/swagger/full.json");
  });

  afterAll(() => server[Symbol.asyncDispose]());

  test.each<readonly [string, string, string | undefined, Record<string, string>, number, string]>([
    ["GET", "/v1/nowhere", undefined, {}, 404, "not_found"],
    ["GET", "/v1/functions/none", undefined, {}, 404, "not_found"],
    ["PUT", "/v1/functions", "{}", {}, 405, "method_not_allowed"],
    ["POST", "/v1/functions", "{", {}, 400, "invalid_request"],
    ["POST", "/v1/functions", '{"imgae": "x"}', {}, 400, "invalid_request"],
    ["POST", "/v1/functions", "{}", { "Content-Encoding": "gzip" }, 415, "unsupported_encoding"],
    ["GET", "/v1/invocations?limit=0", undefined, {}, 400, "invalid_request"],
    ["GET", "/v1/functions", undefined, { Authorization: "Bearer x" }, 401, "unauthorized"],
    ["GET", "/v1/functions", undefined, { Origin: "https://evil.example" }, 403, "forbidden"],
    ["GET", "/v1/functions", undefined, { Host: "evil.example" }, 421, "misdirected_request"],
    ["POST", "/r/none", "{}", {}, 404, "not_found"],
    ["PURGE", "/v1/routes", undefined, {}, 405, "method_not_allowed"],
  ])(
    "%s %s %p %j answers %i %s as RFC 9457 if the client prefers it",
    async (method, path, body, headers, status, reason) => {
      const send = (more: Record<string, string>) =>
        fetch(server.url + path, { method, headers: { ...headers, ...more }, ...(body !== undefined && { body }) });
      const response = await send({ Accept: `${PROBLEM}, application/json` });
      const problem: unknown = await response.json();
      const id = response.headers.get("x-request-id") ?? "none";
      expect([response.status, response.headers.get("content-type"), response.headers.get("vary")]).toEqual([
        status,
        PROBLEM,
        "Accept",
      ]);
      expect(problem).toMatchObject({
        type: `urn:slipway:reason:${reason}`,
        status,
        instance: `urn:uuid:${id}`,
        reason,
        request_id: id,
      });
      const schema = { $ref: "#/components/schemas/ProblemDetails" };
      expect(document.mismatch(schema, problem)).toBeUndefined();

      const plain = await send({});
      const envelope = (await plain.json()) as { message: string }; // other tests check its schema
      expect([plain.status, plain.headers.get("content-type"), plain.headers.get("vary")]).toEqual([
        status,
        expect.stringMatching(/^application\/json/),
        "Accept",
      ]);
      expect(problem).toMatchObject({ detail: envelope.message });
    },
  );

  test("the document has an example of every error as RFC 9457", () => {
    const responses = document.object(document.object(document.json["components"])["responses"]);
    expect(Object.keys(responses).length).toBeGreaterThan(10);
    for (const [name, response] of Object.entries(responses)) {
      const { schema, example } = document.object(document.object(document.object(response)["content"])[PROBLEM]);
      expect([name, schema, document.mismatch(schema, example)]).toEqual([
        name,
        { $ref: "#/components/schemas/ProblemDetails" },
        undefined,
      ]);
    }
  });
});

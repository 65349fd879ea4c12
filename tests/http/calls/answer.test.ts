import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { answerResponse } from "../../../lib/http/calls/answer.ts";
import type { Answer } from "../../../lib/services/calls/call.ts";
import { newRecord } from "../../../lib/services/calls/record.ts";
import { headOf } from "../../../lib/runner/contracts/files.ts";
import { parseResponseMeta, PLAIN_RESPONSE, type ResponseMeta } from "../../../lib/runner/contracts/response-meta.ts";
import { FUNCTION_DEFAULTS } from "../../../lib/domain/functions/functions.ts";
import { rawRequest } from "../support/raw-request.ts";

const fn = {
  ...FUNCTION_DEFAULTS,
  id: "f",
  image: "x:1",
  image_id: null,
  digest: null,
  created_at: "",
  updated_at: "",
};
const record = { ...newRecord("i", { function: fn, route_id: null, key_id: null }, 0, ""), exit_code: 0 };

let answer: Answer;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  fetch: () => answerResponse(answer, { accept: null, may_read: false }),
});
afterAll(() => server.stop(true));

/** The answer of a function that succeeded, as it is on the wire. */
async function sent(text: string, meta: ResponseMeta | null, { method = "POST", body_file = true } = {}) {
  const response = { ...headOf(meta ?? PLAIN_RESPONSE, body_file, true), body: Buffer.from(text) };
  answer = { invocation: { ...record, status: "succeeded" }, response };
  return rawRequest(server.url.href, `${method} / HTTP/1.1`);
}

const meta = (status: number, headers: ResponseMeta["headers"] = []): ResponseMeta => ({
  status,
  headers,
  dropped: [],
});

describe("answerResponse", () => {
  test("omits the body of a HEAD and states its length", async () => {
    const { status, headers, text } = await sent("hello", meta(200, [["content-type", "text/plain"]]), {
      method: "HEAD",
    });
    expect([status, text, headers.get("content-length")]).toEqual([200, "", "5"]);
    expect(headers.get("content-type")).toBe("text/plain");
  });

  test.each([204, 205, 304])("sends no body and no content type with %d, even if there are some", async (status) => {
    const reply = await sent("hello", meta(status, [["etag", '"1"']]));
    expect([reply.status, reply.text, reply.headers.get("etag")]).toEqual([status, "", '"1"']);
    expect(reply.headers.get("content-type")).toBeNull();
  });

  test.each([
    [true, [], "application/octet-stream"],
    [false, [], "application/json"],
    [false, [["content-type", "application/problem+json"]], "application/problem+json"],
    [true, [["content-type", "text/html; charset=utf-8"]], "text/html; charset=utf-8"],
  ] as [boolean, [string, string][], string][])(
    "of a body file (%p) with %j is %s",
    async (body_file, headers, type) => {
      const reply = await sent("{}", meta(200, headers), { body_file });
      expect([reply.text, reply.headers.get("content-type")]).toEqual(["{}", type]);
    },
  );

  test("of a function without meta is JSON with the status 200", async () => {
    const reply = await sent("{}", null, { body_file: false });
    expect([reply.status, reply.text, reply.headers.get("content-type")]).toEqual([200, "{}", "application/json"]);
  });

  test("sends a body as it arrives", async () => {
    const body = new ReadableStream<Uint8Array>({
      start: (stream) => {
        for (const part of ["as it ", "arrives"]) stream.enqueue(Buffer.from(part));
        stream.close();
      },
    });
    answer = { invocation: { ...record, status: "succeeded" }, response: { status: 201, headers: [], body } };
    const reply = await fetch(server.url);
    expect([reply.status, await reply.text()]).toEqual([201, "as it arrives"]);
  });

  test("sends the headers of a function unchanged, and no others", async () => {
    const OURS = ["x-content-type-options", "content-security-policy", "content-type", "x-function-exit-code"];
    const own = new Set([...OURS, "server-timing", "date", "content-length", "connection"]);
    const name = fc.stringMatching(/^x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}$/);
    const value = fc.oneof(
      fc.stringMatching(/^[\t\u0020-\u007e]{0,30}$/),
      fc.string({ unit: "binary", maxLength: 10 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(name, value, { maxKeys: 5 }),
        fc.integer({ min: 200, max: 599 }),
        async (headers, status) => {
          const parsed = parseResponseMeta(Buffer.from(JSON.stringify({ status, headers })));
          if ("problem" in parsed) return;
          const reply = await sent("hello", parsed);
          expect(reply.status).toBe(status);
          expect(reply.text).toBe([204, 205, 304].includes(status) ? "" : "hello");
          const said = [...reply.headers].filter(([one]) => !own.has(one));
          const meant = Object.entries(headers).map(([key, text]): [string, string] => [
            key.toLowerCase(),
            text.replace(/^[\t ]+|[\t ]+$/g, ""),
          ]);
          expect(new Set(said.map(([one]) => one))).toEqual(new Set(meant.map(([one]) => one)));
          for (const [key, text] of meant) {
            // The test reads bytes as UTF-8; characters beyond ASCII are one byte each.
            if (/^[\t\u0020-\u007e]*$/.test(text)) expect(reply.headers.get(key)).toBe(text);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  functionUrlHead,
  functionUrlResponse,
  type FunctionUrlResponse,
} from "../../../lib/domain/lambda/function-url-response.ts";

function read(returned: string | object, ownOrigin = false) {
  const text = typeof returned === "string" ? returned : JSON.stringify(returned);
  return functionUrlResponse(Buffer.from(text), ownOrigin);
}

function answered(returned: string | object, ownOrigin?: boolean): FunctionUrlResponse {
  const response = read(returned, ownOrigin);
  if ("problem" in response) throw new Error(response.problem);
  return response;
}

function textOf({ body }: FunctionUrlResponse): string {
  return Buffer.from(body).toString();
}

const JSON_HEADERS = [["content-type", "application/json"]] as const;

describe("functionUrlResponse", () => {
  test.each([['"Hello, world!"'], ['{"message":"Hello, world!"}'], ["[1]"], ["null"], ["12"], ['{"statuscode":500}']])(
    "%s is a body by itself",
    (returned) => {
      const response = answered(returned);
      expect(response).toMatchObject({ status: 200, headers: JSON_HEADERS, dropped: [] });
      expect(textOf(response)).toBe(returned);
    },
  );

  test("what is not JSON is not called JSON", () => {
    expect(answered("hello")).toMatchObject({ status: 200, headers: [["content-type", "text/plain; charset=utf-8"]] });
    const bytes = functionUrlResponse(Buffer.from([0xff]));
    expect(bytes).toMatchObject({ status: 200, headers: [["content-type", "application/octet-stream"]] });
  });

  test("an object with statusCode describes the answer", () => {
    const response = answered({
      statusCode: 201,
      headers: { "Content-Type": "text/html", "My-Custom-Header": "Custom Value", "X-Count": 3, "X-Null": null },
      body: "<p>",
      cookies: ["Cookie_1=Value1; Expires=21 Oct 2021 07:48 GMT", "Cookie_2=Value2; Max-Age=78000"],
      isBase64Encoded: false,
    });
    expect(response).toMatchObject({
      status: 201,
      headers: [
        ["content-type", "text/html"],
        ["my-custom-header", "Custom Value"],
        ["x-count", "3"],
        ["set-cookie", "Cookie_1=Value1; Expires=21 Oct 2021 07:48 GMT"],
        ["set-cookie", "Cookie_2=Value2; Max-Age=78000"],
      ],
      dropped: [],
    });
    expect(textOf(response)).toBe("<p>");
  });

  test.each([
    ["base64", { statusCode: 200, body: "AP8=", isBase64Encoded: true }, Buffer.from([0, 255])],
    ["no body", { statusCode: 200 }, Buffer.from("")],
    ["an object", { statusCode: 200, body: { a: 1 } }, Buffer.from('{"a":1}')],
    ["text that looks like base64", { statusCode: 200, body: "AP8=" }, Buffer.from("AP8=")],
  ])("decodes a body: %s", (_, returned, bytes) => {
    expect(Buffer.from(answered(returned).body)).toEqual(bytes);
  });

  test("the default type is JSON, unless there can be no body", () => {
    expect(answered({ statusCode: 404 }).headers).toEqual(JSON_HEADERS);
    expect(answered({ statusCode: "404" }).status).toBe(404);
    expect(answered({ statusCode: null }).status).toBe(200);
    expect(answered({ statusCode: 204 }).headers).toEqual([]);
  });

  test("headers that a function cannot set are left out, and the reason is for its log", () => {
    const returned = {
      statusCode: 200,
      headers: { Connection: "close", "Content-Length": "5", "Strict-Transport-Security": "max-age=1" },
      multiValueHeaders: { "Set-Cookie": ["a=b"] },
    };
    const { headers, dropped } = answered(returned);
    expect(headers).toEqual(JSON_HEADERS);
    expect(dropped).toEqual([
      'the header "connection" is left out: it is about one connection only',
      'the header "strict-transport-security" is left out: it would speak for all that this server answers',
      expect.stringContaining('"multiValueHeaders" is not read'),
    ]);
    expect(answered(returned, true).headers).toContainEqual(["strict-transport-security", "max-age=1"]);
  });

  test.each([
    [{ statusCode: 99 }, 'has a "statusCode" that is not a whole number from 200 to 599'],
    [{ statusCode: 101 }, 'has a "statusCode" that is not a whole number from 200 to 599'],
    [{ statusCode: 200.5 }, 'has a "statusCode" that is not a whole number from 200 to 599'],
    [{ statusCode: "2e2" }, 'has a "statusCode" that is not a whole number from 200 to 599'],
    [{ statusCode: 200, headers: ["a"] }, 'has "headers" that are not an object of names and values'],
    [{ statusCode: 200, headers: { "a b": "" } }, 'has a malformed name in header 1 of "headers"'],
    [{ statusCode: 200, headers: { a: ["b"] } }, 'has a value in header 1 of "headers" that is not a string'],
    [
      { statusCode: 200, headers: { a: "\r\nb: c" } },
      'has a character in header 1 of "headers" that no header can have',
    ],
    [{ statusCode: 200, cookies: "a=b" }, 'has "cookies" that are not an array of strings'],
    [{ statusCode: 200, cookies: [1] }, 'has a value in cookie 1 of "cookies" that is not a string'],
    [{ statusCode: 200, cookies: ["a=\n"] }, 'has a character in cookie 1 of "cookies" that no header can have'],
    [{ statusCode: 200, body: "%", isBase64Encoded: true }, 'has "isBase64Encoded", and a "body" that is not base64'],
    [{ statusCode: 200, cookies: Array(257).fill("a=b") }, "has more than 256 headers"],
  ])("is malformed (%#)", (returned, problem) => {
    const response = read(returned);
    expect("problem" in response ? response.problem : "").toStartWith(problem);
  });

  test("whatever a function returns makes an answer that can be sent, or a problem", () => {
    const value = fc.oneof(
      fc.json(),
      fc
        .record(
          {
            statusCode: fc.oneof(fc.integer({ min: 190, max: 610 }), fc.anything()),
            headers: fc.oneof(fc.dictionary(fc.string(), fc.anything()), fc.anything()),
            cookies: fc.oneof(fc.array(fc.string()), fc.anything()),
            body: fc.anything(),
            isBase64Encoded: fc.anything(),
          },
          { requiredKeys: ["statusCode"] },
        )
        .map((description) => safeJson(description)),
    );
    const property = fc.property(value, fc.boolean(), (json, ownOrigin) => {
      const response = read(json, ownOrigin);
      if ("problem" in response) return;
      const headers = new Headers(response.headers.map(([name, text]): [string, string] => [name, text]));
      expect(new Response(null, { status: response.status, headers }).status).toBe(response.status);
    });
    fc.assert(property, { numRuns: 300 });
  });
});

describe("functionUrlHead", () => {
  test("each of its fields may be absent", () => {
    expect(functionUrlHead("{}")).toEqual({
      status: 200,
      headers: [["content-type", "application/json"]],
      dropped: [],
    });
    expect(functionUrlHead('{"statusCode":302,"headers":{"Location":"/"}}')).toMatchObject({ status: 302 });
  });

  test.each(["", "[]", "null", "{", '"a"'])("%p is no head", (json) => {
    expect(functionUrlHead(json)).toEqual({ problem: "begins with a head that is not a JSON object" });
  });
});

/** JSON.stringify throws for some values of fast-check, such as BigInt. */
function safeJson(value: object): string {
  const big = (_: string, part: unknown) => (typeof part === "bigint" ? String(part) : part);
  return JSON.stringify(value, big);
}

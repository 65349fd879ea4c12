import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isHeaderName, isHeaderValue, responseHeaderProblem } from "../../../lib/domain/calls/headers.ts";
import { type CgiResponse, parseCgiOutput } from "../../../lib/runner/contracts/cgi-head.ts";

const parse = (output: string) => parseCgiOutput(Buffer.from(output, "latin1"));

function read(output: string): Omit<CgiResponse, "body"> & { readonly body: string } {
  const parsed = parse(output);
  if ("problem" in parsed) throw new Error(parsed.problem);
  return { ...parsed, body: Buffer.from(parsed.body).toString("latin1") };
}

describe("parseCgiOutput reads", () => {
  test.each<[string, string, number, readonly (readonly [string, string])[], string]>([
    ["a document", "Content-Type: text/plain\n\nhi", 200, [["content-type", "text/plain"]], "hi"],
    ["CR LF", "Content-Type: text/plain\r\n\r\nhi", 200, [["content-type", "text/plain"]], "hi"],
    [
      "both ends of lines",
      "Content-Type: a/b\r\nX: 1\n\r\nhi",
      200,
      [
        ["content-type", "a/b"],
        ["x", "1"],
      ],
      "hi",
    ],
    ["a body that begins with an empty line", "Status: 201\n\n\n\nhi", 201, [], "\n\nhi"],
    ["a body of bytes", "Status: 200\n\n\0\xff\r\n\r\n", 200, [], "\0\xff\r\n\r\n"],
    ["no body", "Status: 204 No Content\n\n", 204, [], ""],
    ["a status without its phrase", "Status: 404\n\n", 404, [], ""],
    ["a redirection", "Location: https://example.com/\n\n", 302, [["location", "https://example.com/"]], ""],
    ["another one", "Status: 303 See\nLocation: /r/x\n\n", 303, [["location", "/r/x"]], ""],
    ["names in any case", "sTATUS:200\ncontent-TYPE:\ta/b \t\n\n", 200, [["content-type", "a/b"]], ""],
    [
      "a header several times",
      "Status: 200\nSet-Cookie: a=1\nSet-Cookie: b=2\n\n",
      200,
      [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
      ],
      "",
    ],
    [
      "a value with colons and without",
      "Status: 200\nX-A: b:c\nX-D:\n\n",
      200,
      [
        ["x-a", "b:c"],
        ["x-d", ""],
      ],
      "",
    ],
    ["a value beyond ASCII", "Status: 200\nX-A: caf\xe9\n\n", 200, [["x-a", "caf\xe9"]], ""],
  ])("%s", (_, output, status, headers, body) => {
    expect(read(output)).toEqual({ status, headers, dropped: [], body });
  });

  test("the headers that no answer of a function may have as dropped", () => {
    const { headers, dropped } = read(
      "Status: 200\nConnection: close\nContent-Length: 3\nX-Accel-Redirect: /etc/passwd\nTransfer-Encoding: chunked\n" +
        "Strict-Transport-Security: max-age=1\nX: 1\n\nabc",
    );
    expect(headers).toEqual([["x", "1"]]);
    expect(dropped).toEqual([
      'the header "connection" of the output is left out: it is about one connection only',
      'the header "content-length" of the output is left out: the server sets it',
      'the header "x-accel-redirect" of the output is left out: a proxy in front of this server would act on it',
      'the header "transfer-encoding" of the output is left out: it is about one connection only',
      'the header "strict-transport-security" of the output is left out: it would speak for all that this server answers',
    ]);
  });
});

describe("parseCgiOutput refuses", () => {
  const NONE = "has none of the headers Content-Type, Location and Status";
  const UNENDED = "ends before the empty line that must follow its headers";
  test.each([
    ["nothing", "", "is empty: print headers and an empty line"],
    ["a page without a head", "<html>\n\n", 'has no ":" in line 1, which must be a header'],
    ["an empty head", "\nhi", NONE],
    ["a head that means nothing", "X: 1\n\nhi", NONE],
    ["a head without an end", "Content-Type: a/b\n", UNENDED],
    ["a head in the middle of a line", "Content-Type: a/b", UNENDED],
    ["CR alone", "Content-Type: a/b\r\rhi", UNENDED],
    ["CR within a line", "Content-Type: a\rb\n\n", "has a character that no header can have in line 1: encode it"],
    ["CR CR LF", "Content-Type: a/b\r\r\n\r\n", "has a character that no header can have in line 1: encode it"],
    ["a NUL", "Content-Type: a/b\nX: \0\n\n", "has a character that no header can have in line 2: encode it"],
    ["a NUL in a name", "\0: a/b\n\n", "has a malformed name of a header in line 1"],
    ["a space before the colon", "Content-Type : a/b\n\n", "has a malformed name of a header in line 1"],
    ["no name", ": a/b\n\n", "has a malformed name of a header in line 1"],
    ["a continued line", "Content-Type: a/b\n charset=x\n\n", 'has no ":" in line 2, which must be a header'],
    ["another", "Content-Type: a/b\n\tX: y\n\n", "has a malformed name of a header in line 2"],
    [
      "HTTP",
      "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n",
      'begins with a status line of HTTP: print a header such as "Status: 404 Not Found"',
    ],
    ["a status of words", "Status: OK\n\n", 'has a "Status" that is no number from 200 to 599'],
    ["1xx", "Status: 100 Continue\n\n", 'has a "Status" that is no number from 200 to 599'],
    ["600", "Status: 600\n\n", 'has a "Status" that is no number from 200 to 599'],
    ["four digits", "Status: 2000\n\n", 'has a "Status" that is no number from 200 to 599'],
    ["two statuses", "Status: 200\nstatus: 404\n\n", 'has the header "status" twice'],
    ["two types", "Content-Type: a/b\nContent-Type: a/c\n\n", 'has the header "content-type" twice'],
    ["an empty location", "Location:\n\n", 'has the header "location" without a value'],
    [
      "an endless header",
      `Status: 200\nX: ${"y".repeat(70_000)}`,
      "has no empty line within 65536 bytes, where its headers must have ended",
    ],
    [
      "too late an end",
      `Status: 200\nX: ${"y".repeat(65_536)}\n\n`,
      "has no empty line within 65536 bytes, where its headers must have ended",
    ],
    ["too many headers", `Status: 200\n${"X: y\n".repeat(257)}\n`, "has more than 256 headers"],
  ])("%s", (_, output, problem) => {
    expect(parse(output)).toEqual({ problem });
  });
});

describe("parseCgiOutput", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    // Bytes that mean something here are likelier.
    fc
      .array(
        fc.constantFrom(
          "Status: 200",
          "Content-Type: a/b",
          "Location: /",
          "\n",
          "\r\n",
          ":",
          " ",
          "\0",
          "X: y",
          "é",
          "HTTP/1.1 200",
        ),
      )
      .map((words) => Uint8Array.from(Buffer.from(words.join("")))),
  );

  test("never throws, and what it reads can be sent", () => {
    fc.assert(
      fc.property(bytes, (output) => {
        const parsed = parseCgiOutput(output);
        if ("problem" in parsed) return expect(parsed.problem).toMatch(/^(is|has|ends|begins) /);
        expect(parsed.status).toBeWithin(200, 600);
        for (const [name, value] of parsed.headers) {
          expect(isHeaderName(name) && name === name.toLowerCase() && isHeaderValue(value)).toBe(true);
          expect(responseHeaderProblem(name)).toBeUndefined();
        }
        expect(Buffer.from(output).subarray(output.length - parsed.body.length)).toEqual(Buffer.from(parsed.body));
        expect(
          () => new Response(null, { status: parsed.status, headers: [...parsed.headers].map(([n, v]) => [n, v]) }),
        ).not.toThrow();
      }),
      { numRuns: 2_000 },
    );
  });

  test("never repeats a part of the output", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z]{12,20}$/),
        fc.constantFrom("", "Status: ", "X", ": ", "\0"),
        (secret, before) => {
          const parsed = parse(`${before}${secret}\n\n`);
          if ("problem" in parsed) expect(parsed.problem).not.toContain(secret);
        },
      ),
    );
  });

  const name = fc.stringMatching(/^x-[a-z0-9]{1,8}$/).filter((one) => responseHeaderProblem(one) === undefined);
  const value = fc.stringMatching(/^([!-~\u00a1-\u00ff]([ -~]{0,10}[!-~])?)?$/);
  test("reads back what a program has printed by the rules", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 599 }),
        fc.array(fc.tuple(name, value), { maxLength: 10 }),
        fc.constantFrom("\n", "\r\n"),
        fc.uint8Array({ maxLength: 100 }),
        (status, headers, end, body) => {
          const head = [`Status: ${status} Whatever`, ...headers.map(([one, its]) => `${one}: ${its}`), "", ""].join(
            end,
          );
          const parsed = parseCgiOutput(Buffer.concat([Buffer.from(head, "latin1"), body]));
          expect(parsed).toEqual({ status, headers, dropped: [], body: expect.anything() });
          expect("body" in parsed && Buffer.from(parsed.body)).toEqual(Buffer.from(body));
        },
      ),
    );
  });
});

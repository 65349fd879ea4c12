import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isHeaderValue } from "../../../lib/domain/calls/headers.ts";
import { encodeChunk, LAST_CHUNK } from "../../../lib/runner/http1/request-head.ts";
import { cutAt, GET, readResponse } from "./read-response.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const HEAD = { method: "HEAD", upgrade: false };

describe("ResponseReader reads", () => {
  test.each([
    ["a length", `${OK}Content-Length: 2\r\n\r\nhi`, "hi"],
    ["a length, and drops what follows", `${OK}Content-Length: 2\r\n\r\nhi and more`, "hi"],
    ["a length of nothing", `${OK}Content-Length: 0\r\n\r\n`, ""],
    ["a body until the end of the connection", `${OK}\r\nhi`, "hi"],
    ["the same of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhi", "hi"],
    ["chunks", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n01\r\n!\r\n0\r\n\r\n`, "hi!"],
    [
      "chunks with extensions and trailers",
      `${OK}transfer-encoding: Chunked\r\n\r\n2;a="b"\r\nhi\r\n0\r\nX: y\r\n\r\n`,
      "hi",
    ],
    [
      "an answer behind interim ones",
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}\r\nhi`,
      "hi",
    ],
    ["no body of a 204", "HTTP/1.1 204 No Content\r\n\r\nhi", ""],
    ["no body of a 304 that has a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""],
    ["a status without its phrase", "HTTP/1.1 404\r\n\r\nhi", "hi"],
  ])("%s", (_, text, body) => {
    expect(readResponse([text])).toMatchObject({ body, ended: true, problem: undefined });
  });

  test("no body of an answer to HEAD, and the length that it would have had", () => {
    const { head, body, ended } = readResponse([`${OK}Content-Length: 5\r\n\r\n`], HEAD, true);
    expect([head?.length, body, ended]).toEqual([5, "", true]);
  });

  test("headers in lower case and in order, values without white space around them", () => {
    const { head } = readResponse([`${OK}B:  1 \t\r\nset-cookie: a\r\nSet-Cookie: b\r\nA:\r\nX: caf\xe9\r\n\r\n`]);
    expect(head?.headers).toEqual([
      ["b", "1"],
      ["set-cookie", "a"],
      ["set-cookie", "b"],
      ["a", ""],
      ["x", "caf\xe9"],
    ]);
  });

  test.each([
    ["a length", `${OK}Content-Length: 2\r\n\r\nhi`, true],
    ["keep-alive", `${OK}Connection: Keep-Alive\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nhi`, true],
    ["chunks", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`, true],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", false],
    ["205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", false],
    ["205 with a body that comes late", "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\n", false],
    ["304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false],
    ["half of a body", `${OK}Content-Length: 2\r\n\r\nh`, false],
    ["a body until the end of the connection", `${OK}\r\nhi`, false],
    ["more than its body", `${OK}Content-Length: 2\r\n\r\nhi!`, false],
    ["more than its chunks", `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n!`, false],
    ["more, and no body", "HTTP/1.1 204 No Content\r\n\r\n!", false],
    ["Connection: close", `${OK}Connection: x, Close\r\nContent-Length: 2\r\n\r\nhi`, false],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false],
    ["a server that does not wait", `${OK}Keep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nhi`, false],
  ])("whether the connection is left to another request: %s", (_, text, left) => {
    expect(readResponse([text], GET, true).leavesConnection).toBe(left);
    // However it is cut, what is there by the end of the answer counts.
    if (left) expect(readResponse(text.split(""), GET, true).leavesConnection).toBe(true);
  });

  test("that an answer without a body, whatever its headers say, leaves no connection", () => {
    const bodies = ["", "Content-Length: 0\r\n", "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n"];
    const asked = fc.constantFrom("GET", "HEAD", "OPTIONS");
    const status = fc.constantFrom(200, 204, 205, 206, 304, 404);
    fc.assert(
      fc.property(asked, status, fc.constantFrom(...bodies), places, (method, status, how, cuts) => {
        const body = how.startsWith("T") ? "2\r\nhi\r\n0\r\n\r\n" : how.includes("2") ? "hi" : "";
        const isBare = method === "HEAD" || [204, 205, 304].includes(status);
        const text = `HTTP/1.1 ${status} \r\n${how}\r\n${isBare ? "" : body}`;
        const { leavesConnection } = readResponse(cutAt(text, cuts), { method, upgrade: false }, true);
        expect(leavesConnection).toBe(!isBare && how !== "");
      }),
      { numRuns: 200 },
    );
  });

  test("101 only if the request asked for another protocol; what follows is no answer", () => {
    const text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    expect(readResponse([text], { method: "GET", upgrade: true }, true).head?.status).toBe(101);
    expect(readResponse([text], GET, true).problem).toContain("nobody asked for");
  });
});

describe("ResponseReader refuses", () => {
  const long = "x".repeat(65_536);
  test.each([
    ["nothing", "", "is missing"],
    ["something else", "SSH-2.0-OpenSSH_9\r\n", "ends in the middle of its head"],
    ["something else with an end", "SSH-2.0-OpenSSH_9\r\n\r\n", "does not begin with a status line"],
    ["HTTP/2", "HTTP/2 200 OK\r\n\r\n", "does not begin with a status line"],
    ["an empty line first", `\r\n${OK}\r\n`, "does not begin with a status line"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "does not begin with a status line"],
    ["a status of 600", "HTTP/1.1 600 No\r\n\r\n", "does not begin with a status line"],
    ["a status of 099", "HTTP/1.1 099 No\r\n\r\n", "does not begin with a status line"],
    ["a bare LF", "HTTP/1.1 200 OK\n\n", "without CR LF"],
    ["a bare LF in a value", `${OK}X: a\nY: b\r\n\r\n`, "without CR LF"],
    ["a bare CR in a value", `${OK}X: a\rY: b\r\n\r\n`, "a character in header 1"],
    ["a NUL in a value", `${OK}X: a\0b\r\n\r\n`, "a character in header 1"],
    ["a NUL in the status line", "HTTP/1.1 200 O\0\r\n\r\n", "does not begin with a status line"],
    ["a line that is continued", `${OK}X: a\r\n b\r\n\r\n`, 'no ":" in header 2'],
    ["a space before the colon", `${OK}Content-Length : 2\r\n\r\nhi`, "malformed name of header 1"],
    ["a header without a name", `${OK}: 2\r\n\r\n`, "malformed name of header 1"],
    ["two lengths", `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi`, "Content-Length twice"],
    ["two lengths that agree", `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi`, "Content-Length twice"],
    ["a list of lengths", `${OK}Content-Length: 2, 2\r\n\r\nhi`, "no number"],
    ["a signed length", `${OK}Content-Length: +2\r\n\r\nhi`, "no number"],
    ["a hexadecimal length", `${OK}Content-Length: 0x2\r\n\r\nhi`, "no number"],
    ["a length beyond 2^53", `${OK}Content-Length: 99999999999999999999\r\n\r\n`, "no number"],
    ["a length and chunks", `${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`, "both Content-Length and"],
    ["another coding", `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n`, "other than chunked"],
    ["chunks twice", `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, "other than chunked"],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 does not know"],
    ["a head of over 64 KiB", `${OK}X: ${long}\r\n\r\n`, "a head of over 65536 bytes"],
    ["a head without an end", long + long, "a head of over 65536 bytes"],
    ["interim answers without an end", "HTTP/1.1 100 C\r\n\r\n".repeat(4_000), "a head of over 65536 bytes"],
    ["257 headers", `${OK}${"X: y\r\n".repeat(257)}\r\n`, "more than 256 headers"],
    ["a body that is too short", `${OK}Content-Length: 3\r\n\r\nhi`, "in the middle of its body"],
    ["chunks without an end", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`, "in the middle of its body"],
    [
      "a chunk that is too long",
      `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n`,
      "longer than its size",
    ],
    ["a chunk without a size", `${OK}Transfer-Encoding: chunked\r\n\r\n;a\r\nhi\r\n`, "size is no number"],
    ["a negative size", `${OK}Transfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n`, "size is no number"],
    ["a size beyond 2^53", `${OK}Transfer-Encoding: chunked\r\n\r\n${"f".repeat(16)}\r\n`, "size is no number"],
    ["a size line with a bare LF", `${OK}Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n`, "without CR LF"],
    ["a size line without an end", `${OK}Transfer-Encoding: chunked\r\n\r\n2;${long}`, "too long among its chunks"],
    ["trailers without an end", `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\n${"X: y\r\n".repeat(20_000)}`, "too long"],
  ])("%s", (_, text, problem) => {
    expect(readResponse([text]).problem).toContain(problem);
    // Also if every byte comes by itself.
    if (text.length < 1_000) expect(readResponse(text.split("")).problem).toContain(problem);
  });
});

const name = fc
  .stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,12}$/)
  .filter((name) => !/^(content-length|transfer-encoding)$/.test(name));
const value = fc
  .array(fc.integer({ min: 0, max: 255 }), { maxLength: 20 })
  .map((codes) => String.fromCharCode(...codes).trim())
  .filter((text) => isHeaderValue(text) && !/^[\t ]|[\t ]$/.test(text));
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array).toString("latin1"));
const places = fc.array(fc.nat(), { maxLength: 12 });

test("ResponseReader reads what was written, however it is cut", () => {
  const framing = fc.constantFrom("length", "chunked", "until_close");
  fc.assert(
    fc.property(
      fc.integer({ min: 200, max: 599 }).filter((status) => ![204, 205, 304].includes(status)),
      fc.array(fc.tuple(name, value), { maxLength: 8 }),
      fc.array(bytes, { maxLength: 5 }),
      framing,
      places,
      (status, headers, pieces, how, cuts) => {
        const body = pieces.join("");
        const own = {
          length: `Content-Length: ${body.length}\r\n`,
          chunked: "Transfer-Encoding: chunked\r\n",
          until_close: "",
        };
        const chunked = pieces
          .filter((piece) => piece !== "")
          .map((piece) => encodeChunk(Buffer.from(piece, "latin1")));
        const coded = how === "chunked" ? Buffer.concat([...chunked, LAST_CHUNK]).toString("latin1") : body;
        const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const text = `HTTP/1.1 ${status} \r\n${lines}${own[how]}\r\n${coded}`;
        const answer = readResponse(cutAt(text, cuts));
        expect(answer).toMatchObject({ body, ended: true, problem: undefined });
        expect(answer.head?.status).toBe(status);
        expect(answer.head?.headers.slice(0, headers.length)).toEqual(headers);
      },
    ),
    { numRuns: 150 },
  );
});

/** Bytes that mean something to a parser, more often than any other. */
const hostile = fc
  .array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.constantFrom(
          OK,
          "\r\n",
          "\n",
          "\r",
          ":",
          " ",
          "0",
          "0\r\n\r\n",
          "ffffffff",
          "Content-Length: 3\r\n",
          "Transfer-Encoding: chunked\r\n",
          "HTTP/1.1 100 \r\n\r\n",
          "1\r\na\r\n",
          "\0",
        ),
      },
      { weight: 1, arbitrary: bytes },
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""));

test("ResponseReader gives the same answer or the same problem for hostile bytes, however they are cut, and throws nothing else", () => {
  fc.assert(
    fc.property(hostile, places, fc.boolean(), (text, cuts, started) => {
      const sent = started ? OK + text : text;
      const whole = readResponse([sent]);
      const { problem, ...rest } = readResponse(cutAt(sent, cuts));
      expect(problem).toBe(whole.problem);
      // The bytes before a problem may have been passed on in pieces or not at all.
      if (problem === undefined) expect(rest).toMatchObject({ head: whole.head, body: whole.body, ended: whole.ended });
    }),
    { numRuns: 400 },
  );
});

test("a problem quotes nothing of the answer", () => {
  const secret = "s3cr3t-v4lu3";
  for (const text of [
    `${secret}\r\n\r\n`,
    `${OK}${secret}\r\n\r\n`,
    `${OK}X-${secret} : a\r\n\r\n`,
    `${OK}X: ${secret}\0\r\n\r\n`,
  ]) {
    const { problem } = readResponse([text]);
    expect(problem).not.toContain(secret);
    expect(problem).toBeString();
  }
});

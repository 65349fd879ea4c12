import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf, type FunctionResponse } from "../../../lib/domain/calls/http-message.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { StdioOutput } from "../../../lib/runner/contracts/stdio-output.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";

type Printing = Pick<Function, "content_type" | "output" | "stream">;

const PLAIN: Printing = { content_type: null, output: "raw", stream: false };
const EXIT = exitFrame({ bodyFile: true, responseState: "fine" });
const FROM = 64 * 1024;

/** The output of a call, with all that is heard of it. */
function outputOf(fn: Partial<Printing> = {}, collected = false) {
  const begun: FunctionResponse[] = [];
  const failures: [Reason, string][] = [];
  const heard = { consumed: 0, left: 0 };
  const facts = { logs: new LogCollector(() => 0), timeout_ms: 1_000, response_limit: 1e6, command: [] };
  const output = new StdioOutput(
    { ...PLAIN, ...fn },
    {
      collected,
      facts,
      listener: {
        begun: (response) => void begun.push(response),
        consumed: (bytes) => void (heard.consumed += bytes),
        failed: (reason, message) => void failures.push([reason, message]),
        left: () => void heard.left++,
      },
    },
  );
  const print = (text: string | Uint8Array) => output.push(Buffer.from(text));
  return { output, print, begun, failures, heard };
}

describe("an answer", () => {
  test("of up to 64 KiB waits for the end of its function", () => {
    const { output, print, begun } = outputOf();
    print(new Uint8Array(FROM));
    expect(begun).toEqual([]);
    const outcome = output.judge({ ...EXIT, exitCode: 3 });
    expect(outcome).toMatchObject({ status: "failed", exit_code: 3, response: { status: 500 }, response_bytes: FROM });
  });

  test("of more begins before that, and lets the function print on as its reader takes it", async () => {
    const { output, print, begun, heard } = outputOf({ content_type: "text/plain" });
    print(new Uint8Array(FROM));
    print("x");
    expect(begun).toMatchObject([{ status: 200, headers: [["content-type", "text/plain"]] }]);
    expect(heard.consumed).toBe(0);
    const body = bytesOf(begun[0]?.body ?? new Uint8Array(0));
    print("y");
    expect(output.judge(EXIT)).toMatchObject({ status: "succeeded", response: null, response_bytes: FROM + 2 });
    expect(
      Buffer.from(await body)
        .subarray(-2)
        .toString(),
    ).toBe("xy");
    expect(heard.consumed).toBe(FROM + 2);
  });

  test("with `stream` begins with its first byte, and fails if its function does", async () => {
    const { output, print, begun, heard } = outputOf({ stream: true });
    print("x");
    const body = bytesOf(begun[0]?.body ?? new Uint8Array(0));
    const outcome = output.judge({ ...EXIT, exitCode: 3 });
    expect(outcome).toMatchObject({
      status: "failed",
      reason: "function_failed",
      message: expect.stringContaining("3"),
    });
    output.fail(new Error("It failed"));
    expect(await body.catch(String)).toBe("Error: It failed");
    // The bytes behind that are nobody's, and hold up nobody.
    print("more");
    expect(heard.consumed).toBe(5);
  });

  test("that is stored never begins before its end", () => {
    const { output, print, begun, heard } = outputOf({ stream: true }, true);
    print(new Uint8Array(3 * FROM));
    expect([begun, heard.consumed]).toEqual([[], 3 * FROM]);
    expect(output.judge(EXIT)).toMatchObject({ status: "succeeded", response: { status: 200 } });
  });

  test("whose reader leaves says so", async () => {
    const { print, begun, heard } = outputOf({ stream: true });
    print("x");
    const body = begun[0]?.body;
    if (body instanceof ReadableStream) await body.cancel();
    expect(heard.left).toBe(1);
  });
});

describe("an answer of a CGI program", () => {
  test("begins with its head, wherever that is cut", async () => {
    const text = "Status: 404\r\nX-A: 1\r\n\r\nbody\n\nmore";
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: text.length }), { maxLength: 8 }), async (cuts) => {
        const { output, print, begun, heard } = outputOf({ output: "cgi", stream: true });
        const places = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        for (const [index, place] of places.entries()) if (index > 0) print(text.slice(places[index - 1], place));
        expect(begun).toMatchObject([
          {
            status: 404,
            headers: [
              ["x-a", "1"],
              ["content-type", "application/octet-stream"],
            ],
          },
        ]);
        const body = bytesOf(begun[0]?.body ?? new Uint8Array(0));
        expect(output.judge(EXIT).status).toBe("succeeded");
        expect(Buffer.from(await body).toString()).toBe("body\n\nmore");
        expect(heard.consumed).toBe(text.length);
      }),
    );
  });

  test.each([
    ["no header", "hello\n\n"],
    ["no end of its head in 64 KiB", `X: ${"y".repeat(2 * FROM)}`],
  ])("with %s is refused while it runs", (_, text) => {
    const { output, print, begun, failures } = outputOf({ output: "cgi" });
    print(text);
    print(new Uint8Array(FROM));
    expect(begun).toEqual([]);
    expect(failures).toMatchObject([["invalid_response", expect.stringContaining("The function's output has ")]]);
    expect(output.judge(EXIT).status).toBe("failed");
  });

  test("without a body waits for the end of its function, whatever that prints", () => {
    const { output, print, begun, heard } = outputOf({ output: "cgi", stream: true });
    print("Status: 204\n\n");
    print(new Uint8Array(3 * FROM));
    expect([begun, heard.consumed]).toEqual([[], 3 * FROM + 13]);
    expect(output.judge(EXIT)).toMatchObject({ status: "succeeded", response: { status: 204 } });
  });
});

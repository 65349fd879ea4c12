import { describe, expect, test } from "bun:test";
import { bytesOf, type HttpOrigin, plainRequest } from "../../../../lib/domain/calls/http-message.ts";
import { formOf } from "../../../../lib/runner/contracts/lambda/function-url.ts";
import { LambdaDialogue } from "../../../../lib/runner/contracts/lambda/lambda-dialogue.ts";
import type { StreamAnswer } from "../../../../lib/runner/instance/stream-exchange.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const VIA: HttpOrigin = { path: "/a", path_rest: null, route: "/a", query: {}, query_string: "", client_address: null };
const FACTS = { id: "i", time_ms: 0 };
const REQUEST = { ...plainRequest(Buffer.from("[1]")), url: "/r/a", via: VIA };
const PRELUDE = "application/vnd.awslambda.http-integration-response";

describe("formOf", () => {
  test.each([
    ["a call that no request has asked for", { ...REQUEST, via: null }, "[1]"],
    ["POST /v1/functions/:id/invoke", { ...REQUEST, via: { ...VIA, route: null } }, "[1]"],
    ["a route with raw events", { ...REQUEST, via: { ...VIA, event: "raw" as const } }, "[1]"],
  ])("the event of %s is its body", (_, request, event) => {
    expect(Buffer.from(formOf(request, FACTS).event(request, request.body)).toString()).toBe(event);
  });

  test("the event of any other route is the request", () => {
    const event: unknown = JSON.parse(Buffer.from(formOf(REQUEST, FACTS).event(REQUEST, REQUEST.body)).toString());
    expect(event).toMatchObject({ version: "2.0", body: "[1]", requestContext: { requestId: "i" } });
  });
});

/** A call by a route whose answer streams, what is heard of it, and the bytes of it that are used up. */
function streamed() {
  const heard: unknown[] = [];
  const used = { bytes: 0 };
  let answer: StreamAnswer | undefined;
  const stream = {
    write: () => true,
    end: () => undefined,
    close: () => undefined,
    abandon: () => undefined,
    whenOver: () => undefined,
    consumed: (bytes: number) => void (used.bytes += bytes),
    sent: 0,
    received: 0,
  };
  const listener = {
    answered: (given: StreamAnswer) => void (answer = given),
    delivered: (failure?: object) => void heard.push(["delivered", failure]),
    ended: () => void heard.push("ended"),
    failed: (failure: object) => void heard.push(["failed", failure]),
    undelivered: () => void heard.push("undelivered"),
    left: () => void heard.push("left"),
  };
  const call = { id: "i", event: new Uint8Array(), form: formOf(REQUEST, FACTS), headers: [], timeout_ms: 1_000 };
  const dialogue = new LambdaDialogue(call, listener, new FakeClock(), () => undefined);
  dialogue.begin(stream, PRELUDE);
  return { dialogue, heard, used, answer: () => answer };
}

describe("an answer that streams behind a head", () => {
  const HEAD = '{"statusCode":201,"headers":{"X-A":"b"}}';

  test("begins when its head is there, however it comes, and its body alone is passed on", async () => {
    const { dialogue, used, answer } = streamed();
    const bytes = Buffer.from(`${HEAD}${"\0".repeat(8)}body`);
    const kept = [...bytes].map((_, index) => dialogue.push(bytes.subarray(index, index + 1)));
    expect(kept.filter(Boolean)).toHaveLength("body".length);
    expect(answer()).toMatchObject({ status: "succeeded", response: { status: 201 } });
    expect(answer()?.response.headers).toContainEqual(["x-a", "b"]);
    dialogue.end();
    expect(Buffer.from(await bytesOf(answer()?.response.body ?? new Uint8Array())).toString()).toBe("body");
    expect([dialogue.response_bytes, used.bytes]).toEqual([4, 4]);
  });

  test("in one piece: the head is used up, and the rest when it is read", async () => {
    const { dialogue, used, answer } = streamed();
    const bytes = Buffer.from(`${HEAD}${"\0".repeat(8)}body`);
    expect(dialogue.push(bytes)).toBe(true);
    expect(used.bytes).toBe(bytes.length - 4);
    dialogue.end();
    await bytesOf(answer()?.response.body ?? new Uint8Array());
    expect(used.bytes).toBe(bytes.length);
  });

  test.each([
    ["a malformed head", `[]${"\0".repeat(8)}`, "begins with a head that is not a JSON object"],
    ["an end in the head", "{", "ends before the eight NUL bytes that must follow its head"],
  ])("%s is no answer", (_, text, problem) => {
    const { dialogue, heard, answer } = streamed();
    expect(dialogue.push(Buffer.from(text))).toBe(false);
    dialogue.end();
    expect(answer()).toBeUndefined();
    expect(heard).toEqual([
      ["failed", { reason: "invalid_response", message: `The function's answer ${problem}`, lost: true }],
    ]);
  });

  test("an error before the head is complete is the function's own", () => {
    const { dialogue, answer } = streamed();
    dialogue.push(Buffer.from("{"));
    dialogue.end({ error_type: "TypeError", message: "TypeError: no" });
    expect(answer()).toMatchObject({ status: "failed", reason: "function_failed", response: { status: 502 } });
  });
});

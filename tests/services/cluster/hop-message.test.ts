import { expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf } from "../../../lib/domain/calls/http-message.ts";
import type { Answer } from "../../../lib/services/calls/call.ts";
import { AnswerReader, decodeCall, encodeAnswer, encodeCall } from "../../../lib/services/cluster/hop-message.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";

/** The same bytes in pieces of a size; cut after so many of them. */
function inPieces(bytes: Uint8Array, size: number, cut = bytes.length): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull: (controller) => {
      if (at >= cut) return controller.close();
      controller.enqueue(bytes.slice(at, Math.min(at + size, cut)));
      at += size;
    },
  });
}

const invocation = someInvocation("i1");

test("a call and its body are what they were after they were passed on", () => {
  const via = {
    path: "/ü",
    path_rest: "x",
    route: "/r/*",
    query: { a: ["1", "2"] },
    query_string: "a=1&a=2",
    client_address: "::1",
  };
  const request = { method: "PUT", url: "/r/ü?a=1&a=2", headers: { traceparent: "00-1-2-01", "x-a": "\u00e4" }, via };
  const call = {
    slipway: "1",
    id: "i1",
    function_id: "f1",
    version: 2,
    updated_at: "now",
    route_id: "r1",
    key_id: null,
    collect: true,
    request,
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (body) => {
      expect(decodeCall(encodeCall(call, body))).toEqual({ call, body: new Uint8Array(body) });
    }),
  );
});

test("an answer is what it was, whatever pieces it comes in, and one that is cut anywhere is none", async () => {
  const headers = [
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ] as const;
  const whole: Answer = { invocation, response: { status: 201, headers, body: Buffer.from("hello") } };
  const streamed = (): Answer => ({
    invocation,
    response: { status: 200, headers, body: inPieces(Buffer.alloc(1_000, "ab"), 300) },
  });
  const refused: Answer = { invocation, response: null, not_begun: true, retry_after_s: 3 };
  for (const make of [() => whole, streamed, () => refused]) {
    const sent = await bytesOf(encodeAnswer(Promise.resolve(make())));
    for (const size of [1, 7, 10_000]) {
      const got = await new AnswerReader(inPieces(sent, size)).answer();
      const { response, ...rest } = make();
      expect(got).toMatchObject(rest);
      expect(got.response && { ...got.response, body: Buffer.from(await bytesOf(got.response.body)) }).toEqual(
        response && { ...response, body: Buffer.from(await bytesOf(response.body)) },
      );
    }
    for (let cut = 0; cut < sent.length; cut += 13) {
      const read = async () => {
        const { response } = await new AnswerReader(inPieces(sent, 50, cut)).answer();
        return response && bytesOf(response.body);
      };
      expect(await read().catch(() => "cut")).toBe("cut");
    }
  }
});

test("a reader that leaves ends the body of the answer", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(Buffer.from("x")),
    cancel: () => resolve(),
  });
  const message = encodeAnswer(Promise.resolve({ invocation, response: { status: 200, headers: [], body: endless } }));
  const { response } = await new AnswerReader(message).answer();
  const reader = response?.body instanceof ReadableStream ? response.body.getReader() : undefined;
  expect((await reader?.read())?.done).toBe(false);
  await reader?.cancel();
  await promise;
});

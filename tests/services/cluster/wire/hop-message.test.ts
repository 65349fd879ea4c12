import { expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf } from "../../../../lib/domain/calls/http-message.ts";
import type { Answer } from "../../../../lib/services/calls/call.ts";
import { AnswerSeal } from "../../../../lib/services/cluster/wire/answer-seal.ts";
import { AnswerReader, encodeAnswer } from "../../../../lib/services/cluster/wire/hop-answer.ts";
import { decodeCall, encodeCall } from "../../../../lib/services/cluster/wire/hop-message.ts";
import { someInvocation } from "../../../store/sqlite/support/stores.ts";

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

const LAST_FRAME_BYTES = 4 + 32 + 1;

/** The same at both ends. */
const seal = () => new AnswerSeal(new Uint8Array(32), Buffer.from("signature"));

const messageOf = (answer: Answer) =>
  encodeAnswer({ answering: Promise.resolve(answer), readyCalls: 3, recorded: async () => undefined }, seal());

/** Reads an answer as far as it goes without the end of its body. */
async function read(message: ReadableStream<Uint8Array>) {
  const reader = new AnswerReader(message, { seal: seal(), whole_bytes: 1_000, within: (frame) => frame });
  expect(await reader.accepted()).toBe(3);
  return { reader, answer: await reader.answer() };
}

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
    reads_record: true,
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
    const sent = await bytesOf(messageOf(make()));
    for (const size of [1, 7, 10_000]) {
      const { reader, answer: got } = await read(inPieces(sent, size));
      const { response, ...rest } = make();
      expect(got).toMatchObject(rest);
      expect(got.response && { ...got.response, body: Buffer.from(await bytesOf(got.response.body)) }).toEqual(
        response && { ...response, body: Buffer.from(await bytesOf(response.body)) },
      );
      await reader.answered;
      await reader.recorded();
    }
    // The last frame says that the record is written, and nothing of the answer.
    for (let cut = 0; cut < sent.length - LAST_FRAME_BYTES; cut += 13) {
      const readCut = async () => {
        const { answer } = await read(inPieces(sent, 50, cut));
        return answer.response && bytesOf(answer.response.body);
      };
      expect(await readCut().catch(() => "cut")).toBe("cut");
    }
  }
});

test("a reader that leaves ends the body of the answer", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(Buffer.from("x")),
    cancel: () => resolve(),
  });
  const message = messageOf({ invocation, response: { status: 200, headers: [], body: endless } });
  const { response } = (await read(message)).answer;
  const reader = response?.body instanceof ReadableStream ? response.body.getReader() : undefined;
  expect((await reader?.read())?.done).toBe(false);
  await reader?.cancel();
  await promise;
});

import { expect, test } from "bun:test";
import { AnswerSeal } from "../../../lib/services/cluster/wire/answer-seal.ts";
import { HopCheck, signHop } from "../../../lib/services/cluster/hop-signature.ts";
import { OUTPUT_PATH } from "../../../lib/services/cluster/shared-output.ts";
import { FakeClock } from "../../support/fake-clock.ts";

test("a signature is for one path, and good once", () => {
  const clock = new FakeClock();
  const [key, to, body] = [new Uint8Array(32), { id: "b", epoch: "e" }, Buffer.from("id")];
  const check = new HopCheck(key, to, clock);
  const request = new Request("http://b/", { headers: signHop(key, to, body, clock.now(), OUTPUT_PATH).headers });
  expect(() => check.check(request)).toThrow("This is nothing that another server");
  expect(() => check.check(request, OUTPUT_PATH).checkBody(body)).not.toThrow();
  expect(() => check.check(request, OUTPUT_PATH)).toThrow("This is nothing that another server");
});

test("a request for an earlier process is known as such if that has ended before it was signed, and refused otherwise", () => {
  const clock = new FakeClock();
  const [key, body] = [new Uint8Array(32), Buffer.from("id")];
  const signed = () => signHop(key, { id: "b", epoch: "earlier" }, body, clock.now());
  const before = signed();
  const check = new HopCheck(key, { id: "b", epoch: "e" }, clock);
  const checked = ({ headers }: { headers: Record<string, string> }) =>
    check.check(new Request("http://b/", { headers }));
  expect(() => checked(before)).toThrow("This is nothing that another server");
  clock.jump(1);
  const { headers, seal } = signed();
  const { isForPredecessor, seal: own } = checked({ headers });
  expect(isForPredecessor).toBe(true);
  expect(seal.isRefusal(own.refusal)).toBe(true);
  expect(() => checked(signHop(key, { id: "c", epoch: "earlier" }, body, clock.now()))).toThrow("This is nothing");
  // Its signature says who it is for.
  const renamed = { ...signed().headers, "x-slipway-hop-epoch": "e" };
  expect(() => checked({ headers: renamed })).toThrow("This is nothing that another server");
  expect(checked(signHop(key, { id: "b", epoch: "e" }, body, clock.now())).isForPredecessor).toBe(false);
});

test("a part of an answer is signed for its place and its request, and a refusal is no part", () => {
  const key = new Uint8Array(32);
  const seal = (request: string) => new AnswerSeal(key, Buffer.from(request));
  const [one, other] = [Buffer.from("one"), Buffer.from("other")];
  const sender = seal("request");
  const [first, second] = [sender.next(one), sender.next(other)];
  const receiver = seal("request");
  expect([receiver.isNext(one, first), receiver.isNext(other, second)]).toEqual([true, true]);
  expect(seal("request").isNext(other, second)).toBe(false);
  expect(seal("request").isNext(other, first)).toBe(false);
  expect(seal("request").isNext(one, first.subarray(1))).toBe(false);
  expect(seal("another").isNext(one, first)).toBe(false);
  expect(seal("request").isNext(Buffer.alloc(0), Buffer.from(seal("request").refusal, "hex"))).toBe(false);
  expect([seal("another"), seal("request")].map((one) => one.isRefusal(sender.refusal))).toEqual([false, true]);
  expect([null, "", "00"].map((given) => sender.isRefusal(given))).toEqual([false, false, false]);
});

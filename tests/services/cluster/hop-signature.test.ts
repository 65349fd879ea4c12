import { expect, test } from "bun:test";
import { HopCheck, signHop } from "../../../lib/services/cluster/hop-signature.ts";
import { OUTPUT_PATH } from "../../../lib/services/cluster/shared-output.ts";
import { FakeClock } from "../../support/fake-clock.ts";

test("a signature is for one path, and good once", () => {
  const clock = new FakeClock();
  const [key, to, body] = [new Uint8Array(32), { id: "b", epoch: "e" }, Buffer.from("id")];
  const check = new HopCheck(key, to, clock);
  const request = new Request("http://b/", { headers: signHop(key, to, body, clock.now(), OUTPUT_PATH) });
  expect(() => check.check(request)).toThrow("This is nothing that another server");
  expect(() => check.check(request, OUTPUT_PATH)(body)).not.toThrow();
  expect(() => check.check(request, OUTPUT_PATH)).toThrow("This is nothing that another server");
});

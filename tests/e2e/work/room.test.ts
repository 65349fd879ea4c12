import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { timingOf } from "../pool/pools.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start({ MAX_INSTANCES: "4" });
  image = await fixture("chaos");
});
afterAll(() => server[Symbol.asyncDispose]());

test("many asynchronous calls that are due at once leave a quarter of the places to synchronous calls", async () => {
  const crowd = await server.createFunction(image);
  const quick = await server.createFunction(image);
  const due = new Date(Date.now() + 500).toISOString();
  const submit = async () => {
    const path = `/v1/functions/${crowd.id}/invoke?async=true&run_at=${due}`;
    return expectSuccess(await server.api<Invocation>("POST", path, { do: "sleep" }), 202).id;
  };
  const ids = await Promise.all(Array.from({ length: 12 }, submit));
  const running = async () => {
    const reply = await server.api<InvocationPage>("GET", "/v1/invocations?status=running");
    return expectSuccess(reply).invocations.length;
  };
  // They begin one after the other if some were not submitted in time.
  expect(await eventually(async () => (await running()) >= 3)).toBe(true);
  expect(await running()).toBe(3);
  const response = await server.invoke(quick, {});
  expect(response.status).toBe(200);
  await expectWithin(timingOf(response).queue, 100);
  await Promise.all(ids.map((id) => server.api("POST", `/v1/invocations/${id}/cancel`)));
});

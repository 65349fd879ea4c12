import { expect } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import type { TestServer } from "../../support/server.ts";
import { containersBecome } from "../pool/pools.ts";

/**
 * A runtime whose events say what it does: it answers with the event, its variables and the headers of the event, fails, exits, sleeps,
 * takes memory or streams. The variable `INIT` has it fail before it asks for its first call.
 */
export const RUNTIME = `
const api = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/";
const post = (path, body, headers = {}) => fetch(api + path, { method: "POST", body, headers });
console.log("starting");
if (process.env.INIT === "exit") { console.log("no DATABASE_URL"); process.exit(3); }
if (process.env.INIT === "error") {
  await post("init/error", JSON.stringify({ errorType: "Function.NoModule", errorMessage: "no module app" }));
  process.exit(1);
}
for (let calls = 1; ; calls++) {
  const next = await fetch(api + "invocation/next");
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const event = await next.json();
  console.log("event", JSON.stringify(event));
  if (event.exit !== undefined) process.exit(event.exit);
  if (event.sleep) await Bun.sleep(event.sleep);
  if (event.memory) { const taken = []; for (let i = 0; i < event.memory; i++) taken.push(Buffer.alloc(1 << 20, 1)); }
  if (event.fail) await post("invocation/" + id + "/error", JSON.stringify({ errorType: "TypeError", errorMessage: event.fail }));
  else await post("invocation/" + id + "/response", JSON.stringify({ event, calls, env: process.env, headers: Object.fromEntries(next.headers) }));
}
`;

/** Registers the runtime as a function; it is deleted at the end, and nothing of it is left. */
export async function register(
  server: TestServer,
  settings: object = {},
): Promise<Function & { readonly warnings?: readonly string[] } & AsyncDisposable> {
  const command = ["bun", "-e", RUNTIME];
  const body = { image: await fixture("bun"), contract: "lambda", network: "none", command, ...settings };
  const { status, body: reply } = await server.api<Function>("POST", "/v1/functions", body);
  expect([status, reply.message]).toEqual([201, expect.any(String)]);
  return Object.assign(reply.data, {
    async [Symbol.asyncDispose]() {
      await server.api("DELETE", `/v1/functions/${reply.data.id}`);
      await containersBecome(0, reply.data);
    },
  });
}

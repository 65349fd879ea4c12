import { expect } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import type { TestServer } from "../../support/server.ts";
import { containersBecome } from "../pool/pools.ts";

/**
 * A server that says which of its instances it is, and how many calls that has had. A call may wait until so many are present
 * (`hold`), and do work of so many milliseconds when its answer is out, and print that it has (`work`). Its variables have it exit (`FAIL`) or turn in circles while it waits (`SPIN`).
 */
const APP = `
const { FAIL, PORT, SPIN, TOKEN = null, RELEASE = null } = process.env;
if (FAIL) { console.log("no DATABASE_URL"); process.exit(3); }
const id = crypto.randomUUID();
const held = [];
let open = 0;
let calls = 0;
console.log("starting");
if (SPIN) setInterval(() => { const end = Date.now() + 5; while (Date.now() < end); }, 10);
Bun.serve({ port: Number(PORT), hostname: "0.0.0.0", idleTimeout: 0, async fetch(request) {
  open++;
  const call = ++calls;
  try {
    const { hold = 0, work = 0 } = JSON.parse((await request.text()) || "{}");
    if (open >= hold) for (const go of held.splice(0)) go();
    else await new Promise((go) => held.push(go));
    if (work) setImmediate(() => {
      const { user, system } = process.cpuUsage();
      for (let used = user + system; used < user + system + work * 1000;) { const now = process.cpuUsage(); used = now.user + now.system; }
      console.log("worked");
    });
    return Response.json({ id, call, token: TOKEN, release: RELEASE });
  } finally { open--; }
}});
`;

/** The answer of the app. */
export interface Said {
  /** Names the instance. */
  readonly id: string;
  /** The number of calls that the instance has had. */
  readonly call: number;
  readonly token: string | null;
  readonly release: string | null;
}

export interface Registered extends Function {
  readonly warnings?: readonly string[];
}

/** Registers the app as a function of the contract `http`; it is deleted at the end, and nothing of it is left. */
export async function register(server: TestServer, settings: object = {}): Promise<Registered & AsyncDisposable> {
  const command = ["bun", "-e", APP];
  const body = { image: await fixture("bun"), contract: "http", network: "none", command, ...settings };
  const { status, body: reply } = await server.api<Registered>("POST", "/v1/functions", body);
  expect([status, reply.message]).toEqual([201, expect.any(String)]);
  return Object.assign(reply.data, {
    async [Symbol.asyncDispose]() {
      await server.api("DELETE", `/v1/functions/${reply.data.id}`);
      await containersBecome(0, reply.data);
    },
  });
}

export async function saidBy(response: Response): Promise<Said> {
  const text = await response.text();
  expect([response.status, text]).toEqual([200, expect.stringContaining('"id"')]);
  return JSON.parse(text) as Said; // the app's answer
}

export async function call(server: TestServer, fn: Pick<Function, "id">, request: object = {}): Promise<Said> {
  return saidBy(await server.invoke(fn, request));
}

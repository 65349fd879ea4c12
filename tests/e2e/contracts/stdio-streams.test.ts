import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { eventually } from "../../support/pace.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

const MIB = 1 << 20;
const LIMIT = 2 * MIB;

/** A server, whose containers are gone with it: each of these functions has one for all of its calls. */
class World implements AsyncDisposable {
  readonly server: TestServer;

  private constructor(server: TestServer) {
    this.server = server;
  }

  static async start(): Promise<World> {
    const server = await TestServer.start({
      WARM_MAX: "1",
      MAX_RESPONSE_BYTES: String(LIMIT),
      MAX_REQUEST_BYTES: String(32 * MIB),
      BODY_MEMORY: String(33 * MIB),
    });
    return new World(server);
  }

  /** Makes a function that runs what a header of its request says, and returns the URL of its route. */
  async make(path: string, settings: Partial<Function> = {}): Promise<string> {
    const fn = await this.server.createFunction(await fixture("shell"), {
      contract: "stdio",
      entrypoint: ["/bin/sh", "-c"],
      command: ['eval "$(echo "$HTTP_SCRIPT" | base64 -d)"'],
      network: "none",
      isolation: "process",
      warm_max: 1,
      ...settings,
    });
    const route = { path, function_id: fn.id, methods: ["GET", "POST"] };
    expectSuccess(await this.server.api("POST", "/v1/routes", route));
    return `${this.server.url}/r${path}`;
  }

  /** Returns the record of a call that has ended. */
  recordOf(answer: Response): Promise<Invocation> {
    return this.server.ended(answer.headers.get("x-request-id") ?? "");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

function run(url: string, script: string, { key, ...init }: RequestInit & { readonly key?: string } = {}) {
  const headers = {
    Script: Buffer.from(script).toString("base64"),
    ...(key !== undefined && { "Idempotency-Key": key }),
  };
  return fetch(url, { method: "POST", ...init, headers });
}

/** Reads an answer up to its end, or to the cut of its connection. */
async function readToCut(answer: Response): Promise<{ readonly bytes: number; readonly cut: boolean }> {
  let bytes = 0;
  try {
    for await (const piece of answer.body ?? []) bytes += piece.length;
    return { bytes, cut: false };
  } catch {
    return { bytes, cut: true };
  }
}

/** The calls after which an answer must have come up to its cut. */
const MOST_CUTS = 5;

/**
 * Makes a call whose answer is cut after so many bytes, and returns it. The reader must get all of them; but one that a busy machine
 * keeps from reading until the connection is reset loses the last ones, and the call is made again.
 */
async function cutAfter(bytes: number, call: () => Promise<Response>): Promise<Response> {
  for (let made = 1; ; made++) {
    const answer = await call();
    const read = await readToCut(answer);
    if (read.cut && read.bytes < bytes && made < MOST_CUTS) continue;
    expect(read).toEqual({ bytes, cut: true });
    return answer;
  }
}

describe("an answer of the contract stdio", () => {
  test("of up to 64 KiB waits for the exit code, and a longer one comes while the function runs", async () => {
    await using world = await World.start();
    const url = await world.make("/plain");
    const short = await run(url, "head -c 65536 /dev/zero; exit 3");
    expect([short.status, short.headers.get("content-length")]).toEqual([500, "65536"]);
    expect(short.headers.get("x-function-exit-code")).toBe("3");
    await short.arrayBuffer();
    const long = await cutAfter(200_000, () => run(url, "head -c 200000 /dev/zero; exit 3"));
    expect([long.status, long.headers.get("x-function-exit-code")]).toEqual([200, null]);
    const failed = { status: "failed", reason: "function_failed", exit_code: 3, response_bytes: 200_000 };
    expect(await world.recordOf(long)).toMatchObject(failed);
    const began = Promise.withResolvers<void>();
    const body = new ReadableStream({
      async pull(controller) {
        await began.promise;
        controller.enqueue(Buffer.from("go\n"));
        controller.close();
      },
    });
    const answer = await run(url, "head -c 65537 /dev/zero; read -r line; echo end", { body });
    const running = await world.server.invocation(answer.headers.get("x-request-id") ?? "");
    expect(running).toMatchObject({ status: "running", response_bytes: null });
    began.resolve();
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect([bytes.length, bytes.subarray(-4).toString()]).toEqual([65_541, "end\n"]);
    const record = await world.recordOf(answer);
    expect(record).toMatchObject({ status: "succeeded", exit_code: 0, request_bytes: 3, response_bytes: 65_541 });
    expect(record.first_byte_ms).toBeLessThanOrEqual(record.run_ms ?? 0);
  });

  test("is cut at the limit, when time is up and when the function is killed, and ends it if its reader leaves", async () => {
    await using world = await World.start();
    const url = await world.make("/plain");
    for (const script of ["exec yes", "exec head -c 1073741824 /dev/zero"]) {
      const answer = await run(url, script);
      expect([script, answer.status]).toEqual([script, 200]);
      const { bytes, cut } = await readToCut(answer);
      expect([cut, bytes <= LIMIT]).toEqual([true, true]);
      expect(await world.recordOf(answer)).toMatchObject({ status: "failed", reason: "response_too_large" });
    }
    const killed = await cutAfter(100_000, () => run(url, "head -c 100000 /dev/zero; kill -9 $$"));
    expect(await world.recordOf(killed)).toMatchObject({ status: "failed", reason: "function_failed", signal: 9 });
    const left = await run(url, "head -c 100000 /dev/zero; exec sleep 60");
    const reader = left.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect(await world.recordOf(left)).toMatchObject({ status: "cancelled" });
    const brief = await world.make("/late", { timeout_ms: 1_000 });
    const late = await cutAfter(100_000, () => run(brief, "head -c 100000 /dev/zero; exec sleep 60"));
    expect(await world.recordOf(late)).toMatchObject({ status: "timed_out", reason: "function_timeout" });
  });
});

describe("an answer with `stream`", () => {
  test("begins with its first byte and has no limit, unless it is stored or has no body", async () => {
    await using world = await World.start();
    const url = await world.make("/stream", { stream: true });
    const small = await cutAfter(1, () => run(url, "printf x; exit 3"));
    expect(small.status).toBe(200);
    const large = await run(url, `exec head -c ${3 * LIMIT} /dev/zero`);
    expect(await readToCut(large)).toEqual({ bytes: 3 * LIMIT, cut: false });
    expect(await world.recordOf(large)).toMatchObject({ status: "succeeded", response_bytes: 3 * LIMIT });
    const none = await run(url, "exit 3");
    expect([none.status, await none.json()]).toMatchObject([502, { success: false }]);
    const head = await run(url, "head -c 200000 /dev/zero", { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "200000"]);
    const keyed = (script: string) => run(url, script, { key: crypto.randomUUID() });
    const failed = await keyed("head -c 200000 /dev/zero; exit 3");
    expect([failed.status, (await failed.arrayBuffer()).byteLength]).toEqual([500, 200_000]);
    expect(await (await keyed("exec yes")).json()).toMatchObject({ reason: "response_too_large" });
  });

  test("of a CGI program begins with its head", async () => {
    await using world = await World.start();
    const url = await world.make("/cgi", { output: "cgi", stream: true });
    const script = "printf 'Status: 404\\nX-A: 1\\nContent-Length: 1\\n'; sleep 0.05; printf '\\nno'; cat >&2";
    const answer = await run(url, script);
    expect([answer.status, answer.headers.get("x-a"), await answer.text()]).toEqual([404, "1", "no"]);
    const bare = await run(url, "printf 'Status: 204\\n\\n'; head -c 500000 /dev/zero");
    expect([bare.status, await bare.text()]).toEqual([204, ""]);
    expect(await world.recordOf(bare)).toMatchObject({ status: "succeeded" });
    for (const wrong of ["echo hi; echo; exec sleep 60", "printf 'X: '; exec yes"]) {
      expect(await (await run(url, wrong)).json()).toMatchObject({ reason: "invalid_response" });
    }
  });
});

describe("a request of the contract stdio", () => {
  const long = new Uint8Array(new Uint32Array((17 * MIB) / 4).map((_, index) => index * 2_654_435_761).buffer);

  test("goes through however long it is, both ways at once, unless nobody reads it", async () => {
    await using world = await World.start();
    const url = await world.make("/stream", { stream: true, timeout_ms: 120_000 });
    // Together they are more than the memory for bodies.
    await Promise.all(
      ["exec cat", "tee /dev/null | cat"].map(async (script) => {
        const answer = await run(url, script, { body: long });
        expect(Buffer.compare(Buffer.from(await answer.arrayBuffer()), long)).toBe(0);
        const record = { status: "succeeded", request_bytes: long.length, response_bytes: long.length };
        expect(await world.recordOf(answer)).toMatchObject(record);
      }),
    );
    const zipped = await run(url, "gzip -1", { body: long.subarray(0, MIB) });
    expect(Buffer.compare(Bun.gunzipSync(await zipped.arrayBuffer()), long.subarray(0, MIB))).toBe(0);
    const unread = await run(url, "date > /dev/null; echo unread", { body: long.subarray(0, 6 * MIB) });
    expect([unread.status, await unread.text()]).toEqual([200, "unread\n"]);
    expect(await (await run(url, "wc -c", { body: "12345" })).text()).toMatch(/^\s*5\n$/);
  });

  test("whose client leaves ends its function", async () => {
    await using world = await World.start();
    const url = new URL(await world.make("/left"));
    const script = Buffer.from("echo reading >&2; exec cat > /dev/null").toString("base64");
    const socket = connect(Number(url.port), url.hostname);
    socket.write(
      `POST ${url.pathname} HTTP/1.1\r\nHost: localhost\r\nScript: ${script}\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(100_000)}`,
    );
    const statuses = async () => {
      const { body } = await world.server.api<{ invocations: Invocation[] }>("GET", "/v1/invocations");
      return body.data.invocations.map(({ status }) => status);
    };
    const read = async () => {
      const { body } = await world.server.api<{ invocations: Invocation[] }>("GET", "/v1/invocations");
      const [first] = body.data.invocations;
      return first !== undefined && (await world.server.logs(first.id)).entries.length > 0;
    };
    await eventually(read);
    expect(await statuses()).toEqual(["running"]);
    socket.destroy();
    await eventually(async () => (await statuses())[0] === "cancelled");
  });
});

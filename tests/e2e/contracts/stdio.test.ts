import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function, FunctionWithPool } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { imageWith, fixture } from "../../support/images.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { eventually } from "../../support/pace.ts";
import { rawRequest } from "../../http/support/raw-request.ts";
import { Receiver } from "../../support/receiver.ts";
import { TestServer } from "../../support/server.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start({ CALLBACK_ALLOW: "127.0.0.1" });
  image = await fixture("shell");
});
afterAll(() => server[Symbol.asyncDispose]());

const make = (settings: Partial<Function>) => server.createFunction(image, { contract: "stdio", ...settings });

/** Registers a script that is a function by the contract `stdio`. */
const script = (text: string, settings: Partial<Function> = {}) =>
  make({ entrypoint: ["/bin/sh", "-c"], command: [text], network: "none", ...settings });

const LIMITS = { MAX_RESPONSE_BYTES: String(8 << 20), MAX_REQUEST_BYTES: String(8 << 20) };

/** One container for all calls, so that no call waits for another one. */
const REUSED = { isolation: "process", warm_max: 1 } as const;

const MIB = 1 << 20;
const long = new Uint8Array(new Uint32Array((6 * MIB) / 4).map((_, index) => index * 2_654_435_761).buffer);

/** The answer of a script: its status, and its output or the reason why there is none. */
const ANSWERS: readonly (readonly [script: string, status: number, said: string])[] = [
  ["echo fine", 200, "fine\n"],
  ["echo no >&2; echo its own error; exit 3", 500, "its own error\n"],
  ["exit 3", 502, "function_failed"],
  ["printf part; kill -9 $$", 500, "part"],
  ["kill -9 $$", 502, "function_failed"],
  ["sleep 100 & sleep 100 & setsid sleep 100 & echo done", 200, "done\n"],
  ["printf part; exec >&-; exit 0", 200, "part"],
  ["ls -A $CONTEXT_PATH", 200, ""],
  ["exec 0<&-; echo closed", 200, "closed\n"],
  ["read -r more < /dev/stdin; echo $?; : > /dev/stdout; echo ok > /dev/stderr", 200, "1\n"],
];

describe("a function by the contract stdio", () => {
  // Each kind of isolation has its own way from a request to a process. Only one container is started for all calls in it.
  test.each([
    ["container", 0],
    ["cell", 1],
    ["process", 1],
  ] as const)("in a %s answers, is ended and leaves nothing for the next call", async (isolation, warm_max) => {
    await using own = await TestServer.start({ WARM_MAX: String(warm_max), ...LIMITS });
    const fn = await own.createFunction(image, {
      contract: "stdio",
      entrypoint: ["/bin/sh", "-c"],
      command: ['read -r line; eval "$line"'],
      network: "none",
      isolation,
      warm_max,
    });
    const run = (line: string, rest: Uint8Array = new Uint8Array(0), init: RequestInit = {}) =>
      own.invoke(fn, Buffer.concat([Buffer.from(`${line}\n`), rest]), init);
    for (const length of [0, 1, 65_536, 6 * MIB]) {
      const answer = await run("exec cat", long.subarray(0, length));
      expect(answer.status).toBe(200);
      expect(Buffer.compare(Buffer.from(await answer.arrayBuffer()), long.subarray(0, length))).toBe(0);
      const record = await own.ended(answer.headers.get("x-request-id") ?? "");
      expect(record).toMatchObject({ contract: "stdio", request_bytes: length + 9, response_bytes: length });
    }
    for (const [line, status, said] of ANSWERS) {
      const answer = await run(line);
      const text = await answer.text();
      const shown = status === 502 ? (JSON.parse(text) as { reason: string }).reason : text; // an envelope
      expect([line, answer.status, shown]).toEqual([line, status, said]);
    }
    // A long body that nobody reads, and then a call that sees only its own.
    expect(await (await run("echo unread", long)).text()).toBe("unread\n");
    expect((await (await run("wc -c", Buffer.from("12345"))).text()).trim()).toBe("5");
    const gone = new AbortController();
    const call = run("exec sleep 60", long, { signal: gone.signal }).catch(() => undefined);
    const busy = async () => (await own.api<FunctionWithPool>("GET", `/v1/functions/${fn.id}`)).body.data.pool.busy;
    await eventually(async () => (await busy()) === 1);
    gone.abort();
    await call;
    const list = `/v1/invocations?function_id=${fn.id}&status=cancelled`;
    await eventually(async () => (await own.api<InvocationPage>("GET", list)).body.data.invocations.length === 1);
    await own.api("PATCH", `/v1/functions/${fn.id}`, { timeout_ms: 500 });
    for (const line of ["exec sleep 60", "cat > /dev/null; exec yes >&2"]) {
      expect(await (await run(line, long)).json()).toMatchObject({ reason: "function_timeout" });
    }
  });

  test("keeps its log apart from its answer", async () => {
    const fn = await script("echo working >&2; echo answer; echo finished >&2");
    const answer = await server.invoke(fn);
    expect(await answer.text()).toBe("answer\n");
    const { entries } = await server.logs(answer.headers.get("x-request-id") ?? "");
    expect(entries.every(({ stream }) => stream === "stderr")).toBe(true);
    expect(entries.map(({ text }) => text).join("")).toBe("working\nfinished\n");
  });

  test("has the content type of its setting", async () => {
    const fn = await script("echo '<p>'", { content_type: "text/html; charset=utf-8" });
    expect((await server.invoke(fn)).headers.get("content-type")).toBe("text/html; charset=utf-8");
    await server.api("PATCH", `/v1/functions/${fn.id}`, { content_type: null });
    expect((await server.invoke(fn)).headers.get("content-type")).toBe("application/octet-stream");
  });

  test("gets secrets as variables and files, and they are masked in its log", async () => {
    await server.api("PUT", "/v1/secrets/token", { value: "s3cret-value" });
    const fn = await script("cat /run/secrets/token; echo; echo $TOKEN; echo $TOKEN >&2", {
      secrets: [
        { name: "token", environment: null },
        { name: "token", environment: "TOKEN" },
      ],
    });
    const answer = await server.invoke(fn);
    expect(await answer.text()).toBe("s3cret-value\ns3cret-value\n");
    expect((await server.logs(answer.headers.get("x-request-id") ?? "")).entries[0]?.text).not.toContain("s3cret");
  });

  test("is called asynchronously, once per Idempotency-Key, and hands its answer to the next", async () => {
    await using receiver = await Receiver.start();
    const last = await script("tr a-z A-Z", { content_type: "text/plain" });
    const fn = await script("rev", { content_type: "text/plain", on_success: last.id });
    const headers = { "Idempotency-Key": "one", "Content-Type": "text/plain" };
    const path = `/v1/functions/${fn.id}/invoke?async=true&callback_url=${encodeURIComponent(receiver.url)}`;
    const first = expectSuccess(await server.api<Invocation>("POST", path, "olleh", headers), 202);
    const again = expectSuccess(await server.api<Invocation>("POST", path, "olleh", headers), 202);
    expect(again.id).toBe(first.id);
    const done = expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${first.id}?wait=30s`));
    expect(done).toMatchObject({ status: "succeeded", contract: "stdio", request_bytes: 5, response_bytes: 5 });
    const result = await fetch(`${server.url}/v1/invocations/${first.id}/result`);
    expect([result.headers.get("content-type"), await result.text()]).toEqual(["text/plain", "hello"]);
    const called = await receiver.get(1);
    expect(called.body).toContain('"contract":"stdio"');
    const list = `/v1/invocations?function_id=${last.id}`;
    await eventually(
      async () =>
        (await server.api<{ invocations: Invocation[] }>("GET", list)).body.data.invocations[0]?.status === "succeeded",
    );
    const [next] = (await server.api<{ invocations: Invocation[] }>("GET", list)).body.data.invocations;
    expect(await (await fetch(`${server.url}/v1/invocations/${next?.id}/result`)).text()).toBe("HELLO");
  });

  test("moves between the contracts with a change, and back with a version", async () => {
    const fn = await script("cat; echo '[1]' > $CONTEXT_PATH/response.json 2>/dev/null; true");
    expect(await (await server.invoke(fn, "body")).text()).toBe("body");
    const changed = expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${fn.id}`, { contract: "files" }));
    expect(changed).toMatchObject({ contract: "files", contract_reason: "setting", version: 2 });
    expect(await (await server.invoke(fn, "body")).text()).toBe("[1]\n");
    await server.api("POST", `/v1/functions/${fn.id}/rollback`, { version: 1 });
    expect(await (await server.invoke(fn, "body")).text()).toBe("body");
  });
});

describe("the variables of a request", () => {
  let url = "";
  beforeAll(async () => {
    const fn = await script("env; exec cat >&2", {
      environment: { HTTP_MINE: "of the function", SERVER_NAME: "named" },
    });
    const { body } = await server.api("POST", "/v1/routes", {
      path: "/env/*",
      function_id: fn.id,
      methods: ["GET", "POST"],
    });
    if (!body.success) throw new Error(body.message);
    url = `${server.url}/r/env`;
  });

  const variables = (text: string) =>
    Object.fromEntries(
      text
        .trimEnd()
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );

  test("are those of CGI, and none of the function's own", async () => {
    const answer = await fetch(`${url}/a%20b?x=%C3%A9`, {
      method: "POST",
      body: "12345",
      headers: {
        "Content-Type": "text/plain",
        Proxy: "http://evil.example",
        Mine: "of the caller",
        "X-Other": "1",
        X_Under: "2",
      },
    });
    const found = variables(await answer.text());
    expect(found).toMatchObject({
      GATEWAY_INTERFACE: "CGI/1.1",
      REQUEST_METHOD: "POST",
      SCRIPT_NAME: "/r/env",
      PATH_INFO: "/a b",
      QUERY_STRING: "x=%C3%A9",
      CONTENT_LENGTH: "5",
      CONTENT_TYPE: "text/plain",
      REMOTE_ADDR: "127.0.0.1",
      SERVER_PROTOCOL: "HTTP/1.1",
      SERVER_NAME: "named",
      HTTP_MINE: "of the function",
      HTTP_X_OTHER: "1",
      REQUEST_ID: answer.headers.get("x-request-id"),
    });
    expect(Object.keys(found).filter((name) => /PROXY|UNDER/.test(name))).toEqual([]);
  });

  test("have the bytes of a header as they were sent", async () => {
    const headers = ["Host: localhost", "X-Name: café"];
    const { text } = await rawRequest(server.url, "GET /r/env/ HTTP/1.1", { headers });
    expect(text).toContain("HTTP_X_NAME=café");
  });

  test("have room for 60 KiB of headers", async () => {
    const headers = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`x-${index}`, "y".repeat(1000)]));
    const found = variables(await (await fetch(url, { headers })).text());
    expect(Object.keys(found).filter((name) => /^HTTP_X_\d+$/.test(name)).length).toBe(60);
  });
});

describe("a CGI program", () => {
  const ANSWERED: readonly (readonly [what: string, script: string, status: number, said: string])[] = [
    ["no head", "echo hi; echo", 502, 'its output has no ":" in line 1'],
    ["no empty line", "echo Status: 200", 502, "its output ends before the empty line"],
    [
      "an endless header",
      "printf 'Status: 200\\nX: '; exec head -c 1000000 /dev/zero",
      502,
      "output has no empty line within 65536 bytes",
    ],
    [
      "a NUL in the head",
      "printf 'Status: 200\\nX: \\0\\n\\n'",
      502,
      "has a character that no header can have in line 2",
    ],
    ["bare LF", "printf 'Status: 201\\n\\nok'", 201, "ok"],
    ["CR LF", "printf 'Status: 201\\r\\n\\r\\nok'", 201, "ok"],
    ["no output", "true", 502, "its output is empty"],
    ["headers of the server", "printf 'Status: 200\\nConnection: close\\nContent-Length: 9999\\n\\nok'", 200, "ok"],
    ["a failure", "printf 'Status: 404\\n\\nno'; exit 1", 500, "no"],
  ];

  test("is answered by the rules, or refused with the reason", async () => {
    await using own = await TestServer.start({ WARM_MAX: "1", ...LIMITS });
    const command = ['read -r line; eval "$line"'];
    const cgi = { contract: "stdio", output: "cgi", entrypoint: ["/bin/sh", "-c"], command, ...REUSED } as const;
    const fn = await own.createFunction(image, { ...cgi, entrypoint: [...cgi.entrypoint] });
    for (const [what, text, status, said] of ANSWERED) {
      const answer = await own.invoke(fn, `${text}\n`);
      const body = await answer.text();
      const shown = status === 502 ? (JSON.parse(body) as { message: string }).message : body; // an envelope
      expect([what, answer.status, shown]).toEqual([what, status, expect.stringContaining(said)]);
    }
  });
});

describe("the setting contract", () => {
  test("comes from the image's label unless the request has one, and the record says which", async () => {
    const engine = await acquireEngine();
    const labelled = await imageWith(
      engine,
      image,
      "LABEL slipway.contract=stdio slipway.content_type=text/csv",
      'ENTRYPOINT ["cat"]',
      "CMD []",
    );
    try {
      const fn = await server.createFunction(labelled);
      expect(fn).toMatchObject({ contract: "stdio", contract_reason: "label", content_type: "text/csv" });
      expect(await (await server.invoke(fn, "a,b")).text()).toBe("a,b");
      const files = await server.createFunction(labelled, { contract: "files" });
      expect(files).toMatchObject({ contract: "files", contract_reason: "setting", content_type: null });
    } finally {
      // A container of the call may be going still.
      const removed = () =>
        engine.docker("rmi", "-f", labelled).then(
          () => true,
          () => false,
        );
      expect(await eventually(removed)).toBe(true);
    }
    expect(await server.createFunction(image)).toMatchObject({ contract: "files", contract_reason: "default" });
  });

  test.each([
    [{ contract: "fn" }, 'Invalid "contract": it must be "files", "stdio", "http" or "lambda", but it is "fn"'],
    [
      { contract: "files", output: "cgi" },
      '"output" belongs to the contract "stdio", and the contract is "files": leave it out, or give the contract "stdio"',
    ],
    [
      { content_type: "text/plain" },
      '"content_type" belongs to the contract "stdio", and the contract is "files": leave it out, or give the contract "stdio"',
    ],
    [
      { contract: "stdio", content_type: "text" },
      'Invalid "content_type" "text": give a media type such as "text/plain; charset=utf-8"',
    ],
    [
      { contract: "stdio", content_type: "text/plain\r\nX: y" },
      'Invalid "content_type" "text/plain\\r\\nX: y": give a media type such as "text/plain; charset=utf-8"',
    ],
  ])("%p is refused", async (settings, message) => {
    expectError(await server.api("POST", "/v1/functions", { image, ...settings }), {
      status: 400,
      reason: "invalid_request",
      message,
    });
  });
});

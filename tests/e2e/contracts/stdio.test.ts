import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
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
  server = await TestServer.start({
    WARM_MAX: "1",
    MAX_RESPONSE_BYTES: String(8 << 20),
    MAX_REQUEST_BYTES: String(8 << 20),
    CALLBACK_ALLOW: "127.0.0.1",
  });
  image = await fixture("shell");
});
afterAll(() => server[Symbol.asyncDispose]());

const make = (settings: Partial<Function>) => server.createFunction(image, { contract: "stdio", ...settings });

/** Registers a script that is a function by the contract `stdio`. */
const script = (text: string, settings: Partial<Function> = {}) =>
  make({ entrypoint: ["/bin/sh", "-c"], command: [text], network: "none", warm_max: 0, ...settings });

/** One container for all calls, so that no test waits for another. */
const REUSED = { max_calls: 0, warm_max: 1 };

/** Registers a function that runs the first line of its input. */
const runner = (settings: Partial<Function>) => script('read -r line; eval "$line"', settings);

const recordOf = (answer: Response) => server.invocation(answer.headers.get("x-request-id") ?? "");
const MIB = 1 << 20;
const long = new Uint8Array(new Uint32Array((6 * MIB) / 4).map((_, index) => index * 2_654_435_761).buffer);

describe("a function by the contract stdio", () => {
  /** Each kind of isolation has its own way from a request to a process. */
  describe.each([
    ["container", { max_calls: 1 }],
    ["process", REUSED],
  ] as const)("in a %s", (_, settings) => {
    let echo: Function;
    let run: Function;
    beforeAll(async () => {
      echo = await script("exec cat", settings);
      run = await runner(settings);
    });

    test.each([0, 1, 65_536, 6 * MIB])("answers %i bytes with the same, twice", async (length) => {
      for (let call = 0; call < 2; call++) {
        const answer = await server.invoke(echo, long.subarray(0, length));
        expect(answer.status).toBe(200);
        expect(Buffer.compare(Buffer.from(await answer.arrayBuffer()), long.subarray(0, length))).toBe(0);
        expect(await recordOf(answer)).toMatchObject({
          contract: "stdio",
          request_bytes: length,
          response_bytes: length,
        });
      }
    });

    test.each<[string, number, string | null, string]>([
      ["echo fine", 200, null, "fine\n"],
      ["echo no >&2; echo its own error; exit 3", 500, null, "its own error\n"],
      ["exit 3", 502, "function_failed", ""],
      ["printf part; kill -9 $$", 500, null, "part"],
      ["kill -9 $$", 502, "function_failed", ""],
      ["exec yes", 502, "response_too_large", ""],
      ["exec head -c 1073741824 /dev/zero", 502, "response_too_large", ""],
      ["sleep 100 & sleep 100 & setsid sleep 100 & echo done", 200, null, "done\n"],
      ["printf part; exec >&-; exit 0", 200, null, "part"],
      ["ls -A $CONTEXT_PATH", 200, null, ""],
    ])("answers `%s` with %i", async (line, status, reason, body) => {
      const answer = await server.invoke(run, `${line}\n`);
      const text = await answer.text();
      expect([answer.status, reason === null ? text : null]).toEqual([status, reason === null ? body : null]);
      if (reason !== null) expect(JSON.parse(text)).toMatchObject({ reason });
    });

    test("may leave a long body unread, and the next call begins clean", async () => {
      for (let call = 0; call < 3; call++) {
        const answer = await server.invoke(run, Buffer.concat([Buffer.from("date +%s; exit 0\n"), long]));
        expect([answer.status, await answer.text()]).toEqual([200, expect.stringMatching(/^\d+\n$/)]);
      }
      expect(await (await server.invoke(run, "wc -c\n12345")).text()).toBe("5\n");
    });

    test("is ended at its deadline, whatever it does with its streams", async () => {
      const fn = await script("cat > /dev/null; exec yes >&2", { ...settings, timeout_ms: 300, log_bytes: 1000 });
      expectErrorOf(await server.invoke(fn, long), 504, "function_timeout");
      const stuck = await script("exec sleep 60", { ...settings, timeout_ms: 300 });
      expectErrorOf(await server.invoke(stuck, long), 504, "function_timeout");
    });

    test("is ended when its caller goes away, though it has read nothing", async () => {
      const fn = await script("exec sleep 60", settings);
      const gone = new AbortController();
      const call = server.invoke(fn, long, { signal: gone.signal });
      const listed = async () =>
        (await server.api<{ invocations: Invocation[] }>("GET", `/v1/invocations?function_id=${fn.id}`)).body.data
          .invocations[0];
      await eventually(
        async () =>
          (await server.api<{ pool: { busy: number } }>("GET", `/v1/functions/${fn.id}`)).body.data.pool.busy === 1,
      );
      gone.abort();
      await call.catch(() => undefined);
      await eventually(async () => (await listed())?.status === "cancelled");
    });
  });

  function expectErrorOf(answer: Response, status: number, reason: string): void {
    expect(answer.status).toBe(status);
    expect(answer.json()).resolves.toMatchObject({ reason });
  }

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
      ...REUSED,
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
  let cgi: Function;
  beforeAll(async () => {
    cgi = await runner({ ...REUSED, output: "cgi" });
  });

  test.each<[string, string, number, string]>([
    ["no head", "echo hi; echo", 502, 'its output has no ":" in line 1'],
    ["no empty line", "echo Status: 200", 502, "its output ends before the empty line"],
    [
      "an endless header",
      "printf 'Status: 200\\nX: '; exec head -c 1000000 /dev/zero",
      502,
      "its output has no empty line within 65536 bytes",
    ],
    [
      "a NUL in the head",
      "printf 'Status: 200\\nX: \\0\\n\\n'",
      502,
      "its output has a character that no header can have in line 2",
    ],
    ["bare LF", "printf 'Status: 201\\n\\nok'", 201, "ok"],
    ["CR LF", "printf 'Status: 201\\r\\n\\r\\nok'", 201, "ok"],
    ["no output", "true", 502, "its output is empty"],
    ["no end", "printf 'Status: 200\\n\\n'; exec yes", 502, "it printed more than the limit"],
    [
      "headers of the server",
      "printf 'Status: 200\\nTransfer-Encoding: chunked\\nConnection: close\\nContent-Length: 9999\\n\\nok'",
      200,
      "ok",
    ],
  ])("with %s", async (_, text, status, said) => {
    const answer = await server.invoke(cgi, `${text}\n`);
    const body = await answer.text();
    expect([answer.status, body]).toEqual([
      status,
      expect.stringContaining(status === 502 ? JSON.stringify(said).slice(1, -1) : said),
    ]);
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
      await engine.docker("rmi", "-f", labelled);
    }
    expect(await server.createFunction(image)).toMatchObject({ contract: "files", contract_reason: "default" });
  });

  test.each([
    [{ contract: "http" }, 'Invalid "contract": it must be "files" or "stdio", but it is "http"'],
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

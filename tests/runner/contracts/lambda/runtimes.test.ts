import { describe, expect, test } from "bun:test";
import { LambdaInstance } from "./lambda-instance.ts";

/** After AWS's tutorial of custom runtimes; with a body of over 1 KiB curl asks for leave to send it. */
const SHELL = `
while :; do
  event=$(curl -sS -D "$TMPDIR/headers" "http://$API/2018-06-01/runtime/invocation/next") || exit
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:space:]]*\\).*/\\1/pi' "$TMPDIR/headers")
  { printf '{"event":%s,"pad":"' "$event"; head -c 2000000 /dev/zero | tr '\\0' x; printf '"}'; } |
    curl -sS -o /dev/null -w '%{http_code}\\n' -H 'Expect: 100-continue' --data-binary @- "http://$API/2018-06-01/runtime/invocation/$id/response"
done`;

const PYTHON = `
import http.client, json, os
api = http.client.HTTPConnection(os.environ["API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    next = api.getresponse()
    event = json.loads(next.read())
    api.request("POST", "/2018-06-01/runtime/invocation/" + next.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps({"python": event}))
    print(api.getresponse().read())
`;

/** As Go's client does: a response in chunks with declared trailers, over one connection that is kept. */
const CHUNKED = `
const http = require("node:http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ask = (method, path, headers, write) => new Promise((done, fail) => {
  const request = http.request({ agent, host: "127.0.0.1", port: process.env.API.split(":")[1], method, path: "/2018-06-01/runtime/" + path, headers });
  request.on("error", fail);
  request.on("response", async (response) => { let body = ""; for await (const piece of response) body += piece; done({ response, body }); });
  write ? write(request) : request.end();
});
(async () => { for (;;) {
  const { response, body } = await ask("GET", "invocation/next");
  const event = JSON.parse(body);
  const headers = { Trailer: "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body", "Content-Type": event.type ?? "application/json" };
  if (event.stream) headers["Lambda-Runtime-Function-Response-Mode"] = "streaming";
  const said = await ask("POST", "invocation/" + response.headers["lambda-runtime-aws-request-id"] + "/response", headers, async (request) => {
    request.write("[1,");
    if (event.wait) await new Promise((go) => process.once("SIGUSR1", go));
    request.write("2]");
    if (event.fail) request.addTrailers({ "Lambda-Runtime-Function-Error-Type": "Function.Late", "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify({ errorType: "Function.Late", errorMessage: event.fail })).toString("base64") });
    request.end();
  });
  console.log(said.response.statusCode, said.body.trim());
} })();`;

describe("a runtime", () => {
  test("in sh with curl sends two million bytes after it was given leave, and is called again", async () => {
    await using instance = await LambdaInstance.start("sh", "-c", `TMPDIR=$(mktemp -d) && export TMPDIR; ${SHELL}`);
    await instance.ready();
    for (const id of ["a", "b"]) {
      const call = instance.call({ say: id }, id);
      const text = await call.text();
      expect([text.length, text.slice(0, 30)]).toEqual([2_000_030, `{"event":{"say":"${id}"},"pad":"xx`]);
      expect(await call.end).toBe("next");
    }
    await instance.gate.until(() => instance.gate.logs === "202\n202\n");
  });

  test("in Python's own library keeps its connection", async () => {
    await using instance = await LambdaInstance.start("python3", "-uc", PYTHON);
    await instance.ready();
    for (const id of ["a", "b"]) {
      const call = instance.call({ say: id }, id);
      expect(JSON.parse(await call.text())).toEqual({ python: { say: id } });
      expect(await call.end).toBe("next");
    }
    expect(instance.gate.conversation.openStreams).toBe(1);
  });

  test("that answers in chunks with trailers, as Go's does, whole or as a stream, and fails in the middle of one", async () => {
    await using instance = await LambdaInstance.start("node", "-e", CHUNKED);
    await instance.ready();
    const whole = instance.call({});
    expect(await whole.answer).toMatchObject({ status: "succeeded", response: { status: 200 } });
    expect([await whole.text(), await whole.end]).toEqual(["[1,2]", "next"]);
    const failed = instance.call({ fail: "too late" });
    expect(await failed.answer).toMatchObject({ status: "failed", response: { status: 500 } });
    expect([JSON.parse(await failed.text()), await failed.end]).toEqual([
      { errorType: "Function.Late", errorMessage: "too late" },
      "next",
    ]);
    const stream = instance.call({ stream: true, type: "text/event-stream" });
    expect((await stream.answer).response.headers).toEqual([["content-type", "text/event-stream"]]);
    expect([await stream.text(), await stream.whole, await stream.end]).toEqual(["[1,2]", undefined, "next"]);
    const broken = instance.call({ stream: true, fail: "half way" });
    await broken.answer;
    expect(await broken.text().catch(String)).toContain("Function.Late: half way");
    expect(await broken.whole).toMatchObject({ message: expect.stringContaining("half way") });
    expect(await broken.end).toBe("next");
    await instance.gate.until(() => instance.gate.logs === '202 {"status":"OK"}\n'.repeat(4));
  });

  test("that streams is read before it has ended", async () => {
    await using instance = await LambdaInstance.start("node", "-e", `console.log(process.pid); ${CHUNKED}`);
    await instance.ready();
    const call = instance.call({ stream: true, wait: true });
    const { body } = (await call.answer).response;
    if (body instanceof Uint8Array) throw new Error("The answer is whole");
    const reader = body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("[1,");
    process.kill(Number(instance.gate.logs.trim()), "SIGUSR1");
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("2]");
    expect((await reader.read()).done).toBe(true);
    expect(await call.end).toBe("next");
  });

  test("that cannot start says so", async () => {
    const report = `curl -sS -d '{"errorType":"Function.NoHandler","errorMessage":"no app"}' "http://$API/2018-06-01/runtime/init/error"`;
    await using instance = await LambdaInstance.start("sh", "-c", report);
    expect(await instance.app.asks).toMatchObject({ message: "Function.NoHandler: no app" });
  });

  test("that does not ask for another call is done after two seconds", async () => {
    const once = `id=$(curl -sS -D - -o /dev/null "http://$API/2018-06-01/runtime/invocation/next" | sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\\([^[:space:]]*\\).*/\\1/p')
      curl -sS -d 1 "http://$API/2018-06-01/runtime/invocation/$id/response"; sleep 60`;
    await using instance = await LambdaInstance.start("sh", "-c", once);
    await instance.ready();
    const call = instance.call({});
    expect(await call.text()).toBe("1");
    expect(await call.end).toBe("last");
  });
});

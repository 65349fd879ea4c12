import { expect, test } from "bun:test";
import { LAMBDA_RESPONSE_BYTES } from "../../../../lib/domain/lambda/function-error.ts";
import { LambdaInstance } from "./lambda-instance.ts";

/** Words for programs: `ask` answers with a status and a body. */
const WORDS = `
const base = "http://" + process.env.API;
const api = base + "/2018-06-01/runtime/invocation/";
const ask = async (method, url, body, headers = {}) => {
  const response = await fetch(url, { method, body, headers });
  return [response.status, (await response.text()).trim().slice(0, 60), response.headers.get("lambda-runtime-aws-request-id")];
};
const say = async (asked) => { const [status, body] = await asked; console.log(status, body); };
`;

function program(text: string): [string, string, string] {
  return [process.execPath, "-e", `${WORDS}${text}`];
}

test("requests that are out of order, or for another call, are refused and change nothing", async () => {
  await using instance = await LambdaInstance.start(
    ...program(`
      await say(ask("POST", api + "call-1/response", "1"));
      const [, , id] = await ask("GET", api + "next");
      await say(ask("GET", api + "next"));
      await say(ask("POST", api + "other/response", "1"));
      await say(ask("POST", base + "/2018-06-01/runtime/init/error", "{}"));
      await say(ask("GET", base + "/2018-06-01/ping"));
      await say(ask("GET", base + "/2018-06-01/else"));
      await say(ask("PUT", api + "next"));
      await say(ask("POST", api + id + "/response", '"answer"'));
      await say(ask("POST", api + id + "/response", "2"));
      await say(ask("POST", api + id + "/error", "2"));
      const held = ask("GET", api + "next");
      await say(ask("GET", api + "next"));
      await held;`),
  );
  await instance.ready();
  const call = instance.call({});
  expect([await call.text(), await call.end]).toEqual(['"answer"', "next"]);
  await instance.gate.until(() => instance.gate.logs.split("\n").length === 12);
  const said = instance.gate.logs.split("\n").slice(0, 11);
  const outOfOrder = expect.stringMatching(/^403 .*State transition/);
  const otherCall = expect.stringMatching(/^400 .*Invalid request ID/);
  expect(said).toEqual([
    otherCall,
    outOfOrder,
    otherCall,
    outOfOrder,
    "200 pong",
    expect.stringMatching(/^404 /),
    expect.stringMatching(/^405 /),
    '202 {"status":"OK"}',
    outOfOrder,
    outOfOrder,
    outOfOrder,
  ]);
});

test("an answer that is too long is refused, by its length or as it comes", async () => {
  const tooLong = LAMBDA_RESPONSE_BYTES + 1;
  for (const body of [
    `new Uint8Array(${tooLong})`,
    `new ReadableStream({ start(c) { for (let i = 0; i < ${tooLong}; i += 65536) c.enqueue(new Uint8Array(65536)); c.close(); } })`,
  ]) {
    await using instance = await LambdaInstance.start(
      ...program(
        `const [, , id] = await ask("GET", api + "next"); await say(ask("POST", api + id + "/response", ${body}));`,
      ),
    );
    await instance.ready();
    const answer = await instance.call({}).answer.catch(String);
    expect(answer).toContain("response_too_large");
    await instance.gate.until(() => instance.gate.logs.startsWith("413 "));
  }
});

test("a report of an error that is too long, or does not come to its end, ends the call", async () => {
  const reports = [
    [
      `await say(ask("POST", api + id + "/error", new Uint8Array(${LAMBDA_RESPONSE_BYTES + 1})));`,
      "response_too_large: The function's error has more than",
    ],
    [
      `const [hostname, port] = process.env.API.split(":");
       await Bun.connect({ hostname, port: Number(port), socket: { data() {}, open: (socket) => {
         socket.write("POST /2018-06-01/runtime/invocation/" + id + "/error HTTP/1.1\\r\\nContent-Length: 9\\r\\n\\r\\n{");
         socket.end(); } } });`,
      "invalid_response: The function closed the connection in the middle of its error",
    ],
  ];
  for (const [report = "", failure = ""] of reports) {
    await using instance = await LambdaInstance.start(
      ...program(`const [, , id] = await ask("GET", api + "next"); ${report} await ask("GET", api + "next");`),
    );
    await instance.ready();
    expect(await instance.call({}).answer.catch(String)).toContain(failure);
  }
});

test("floods, half requests and requests that are none keep the call from nothing", async () => {
  await using instance = await LambdaInstance.start(
    ...program(`
      const open = (text) => new Promise((done) => Bun.connect({ hostname: "127.0.0.1", port: Number(process.env.API.split(":")[1]),
        socket: { open: (socket) => void socket.write(text), data: (socket, bytes) => done(String(bytes)), close: () => done("closed") } }));
      const [, , id] = await ask("GET", api + "next");
      for (let i = 0; i < 40; i++) void open("POST /2018-06-01/runtime/invocation/" + id + "/error HTTP/1.1\\r\\nContent-Le");
      for (const text of ["nonsense\\r\\n\\r\\n", "GET / HTTP/1.1\\r\\nContent-Length: 1\\r\\nContent-Length: 1\\r\\n\\r\\n",
        "POST / HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n", "x".repeat(300_000)])
        console.log((await open(text)).split("\\r\\n")[0]);
      // Two requests in one piece: the second waits for its turn.
      const both = "GET /2018-06-01/ping HTTP/1.1\\r\\n\\r\\nGET /2018-06-01/ping HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n";
      console.log((await open(both)).split("HTTP/1.1 200 OK").length > 1);
      await say(ask("POST", api + id + "/response", "7"));
      await ask("GET", api + "next");`),
  );
  await instance.ready();
  const call = instance.call({});
  expect([await call.text(), await call.end]).toEqual(["7", "next"]);
  expect(instance.gate.problem).toBeUndefined();
  await instance.gate.until(() => instance.gate.logs.includes("202"));
  expect(instance.gate.logs).toBe(`${"HTTP/1.1 400 Bad Request\n".repeat(4)}true\n202 {"status":"OK"}\n`);
});

test("a connection that is lost while it waits is not called: the next one is", async () => {
  // The program waits here until the test lets it go on; a handler of signals would not keep it alive.
  const steps = { leave: Promise.withResolvers<void>(), again: Promise.withResolvers<void>() };
  using door = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      await (request.url.endsWith("/leave") ? steps.leave : steps.again).promise;
      return new Response();
    },
  });
  await using instance = await LambdaInstance.start(
    ...program(`
      const [hostname, port] = process.env.API.split(":");
      const first = await Bun.connect({ hostname, port: Number(port), socket: { data() {} } });
      first.write("GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\n\\r\\n");
      await fetch("${door.url.href}leave");
      first.end();
      await fetch("${door.url.href}again");
      const [, , id] = await ask("GET", api + "next");
      await ask("POST", api + id + "/response", '"second"');
      await ask("GET", api + "next");`),
  );
  await instance.ready();
  steps.leave.resolve();
  await instance.gate.until(() => instance.gate.conversation.heldStreams === 0);
  const call = instance.call({});
  steps.again.resolve();
  expect([await call.text(), await call.end]).toEqual(['"second"', "next"]);
});

import { expect, test } from "bun:test";
import { LambdaInstance } from "./lambda-instance.ts";

/** Words for programs: `hold` asks for a call and leaves the answer unread, `told` waits until the test has said something. */
const WORDS = `
const { connect } = await import("node:net");
const [host, port] = process.env.API.split(":");
const api = "http://" + process.env.API + "/2018-06-01/runtime/invocation/";
const hold = () => new Promise((held) => {
  const socket = connect({ host, port: Number(port) }, () => {
    socket.write("GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\n\\r\\n");
    held(socket);
  });
  socket.pause();
});
const told = (what) => fetch(process.env.DOOR + what);
const answer = async () => {
  const next = await fetch(api + "next");
  const id = next.headers.get("lambda-runtime-aws-request-id");
  await fetch(api + id + "/response", { method: "POST", body: JSON.stringify(await next.json()) });
};
`;

/** A step of a runtime: it has come to it, and may go on. */
interface Step {
  readonly reached: PromiseWithResolvers<void>;
  readonly passed: PromiseWithResolvers<void>;
}

/** Starts a runtime, and the door at which it waits for the steps of a test. */
async function start(program: string) {
  const steps = new Map<string, Step>();
  const step = (name: string): Step => {
    const known = steps.get(name) ?? { reached: Promise.withResolvers(), passed: Promise.withResolvers() };
    steps.set(name, known);
    return known;
  };
  const door = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      const { reached, passed } = step(new URL(request.url).pathname.slice(1));
      reached.resolve();
      await passed.promise;
      return new Response();
    },
  });
  const command = `process.env.DOOR = ${JSON.stringify(door.url.href)};${WORDS}${program}`;
  const instance = await LambdaInstance.start(process.execPath, "-e", command);
  await instance.ready();
  return {
    instance,
    go: (name: string) => step(name).passed.resolve(),
    reached: (name: string) => step(name).reached.promise,
    async [Symbol.asyncDispose]() {
      await instance[Symbol.asyncDispose]();
      await door.stop(true);
    },
  };
}

test("an event that meets a connection that has been closed goes to the next one that asks", async () => {
  await using run = await start(`
    const socket = await hold();
    await told("leave");
    socket.end();
    socket.destroy();
    await told("again");
    await answer();
    await answer();`);
  const { instance } = run;
  // The gate hears of both at once, of the event first.
  process.kill(instance.gate.pid, "SIGSTOP");
  run.go("leave");
  await run.reached("again");
  const call = instance.call({ first: true });
  await new Promise(setImmediate); // it is written by then
  process.kill(instance.gate.pid, "SIGCONT");
  await instance.gate.until(() => instance.gate.conversation.heldStreams === 0);
  run.go("again");
  expect([await call.text(), await call.end]).toEqual(['{"first":true}', "next"]);
  const second = instance.call({ second: true }, "call-2");
  expect(await second.text()).toBe('{"second":true}');
});

test("a runtime that closes the connection with its event unread, and asks for another, has failed the call", async () => {
  await using run = await start(`
    const socket = await hold();
    await told("leave");
    socket.resetAndDestroy();
    await told("again");
    await answer();`);
  const { instance } = run;
  const call = instance.call({ first: true });
  run.go("leave");
  await instance.gate.until(() => instance.gate.conversation.heldStreams === 0);
  run.go("again");
  expect(await call.answer.catch(String)).toContain(
    "invalid_response: The function closed the connection before it had read its event, and asked for another one",
  );
});

test("a runtime that closes the connection behind its event may answer by another one", async () => {
  await using run = await start(`
    const next = await fetch(api + "next", { headers: { Connection: "close" } });
    const id = next.headers.get("lambda-runtime-aws-request-id");
    const event = await next.text();
    await told("answer");
    await fetch(api + id + "/response", { method: "POST", body: event });
    await fetch(api + "next");`);
  const { instance } = run;
  const call = instance.call({ first: true });
  await instance.gate.until(() => instance.gate.conversation.heldStreams <= 1);
  run.go("answer");
  expect([await call.text(), await call.end]).toEqual(['{"first":true}', "next"]);
});

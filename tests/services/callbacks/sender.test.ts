import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { parseAllowed } from "../../../lib/domain/calls/callbacks.ts";
import { CALLBACK } from "../../../lib/domain/limits.ts";
import { CallbackSender, type Resolve } from "../../../lib/services/callbacks/sender.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { Receiver } from "../../support/receiver.ts";

let receiver: Receiver;
let clock: FakeClock;

beforeEach(async () => {
  receiver = await Receiver.start();
  clock = new FakeClock();
});
afterEach(() => receiver[Symbol.asyncDispose]());

function senderTo(allow: readonly string[], resolve?: Resolve): CallbackSender {
  const allowed = parseAllowed(allow) ?? { names: new Set(), ranges: [] };
  const { timeout_ms } = CALLBACK;
  return new CallbackSender({ allowed, clock, user_agent: "slipway/test", timeout_ms, ...(resolve && { resolve }) });
}

function send(sender: CallbackSender, url: string, signal = new AbortController().signal) {
  return sender.send(url, { headers: { "webhook-id": "i1" }, body: '{"ü":1}', signal });
}

const toLoopback = () => senderTo(["127.0.0.0/8"]);

describe("CallbackSender", () => {
  test("posts JSON and returns the status", async () => {
    expect(await send(toLoopback(), receiver.url)).toEqual({ status: 204 });
    expect(receiver.received).toMatchObject([
      {
        method: "POST",
        url: "/hook?a=1",
        body: '{"ü":1}',
        headers: {
          "content-type": "application/json",
          "content-length": "8",
          connection: "close",
          "webhook-id": "i1",
          "user-agent": "slipway/test",
          host: `127.0.0.1:${receiver.port}`,
        },
      },
    ]);
    await (
      await receiver.get(1)
    ).closed;
    expect(clock.pending).toBe(0);
  });

  test("follows no redirect", async () => {
    receiver.answer = (response) => response.writeHead(307, { location: receiver.url }).end();
    expect(await send(toLoopback(), receiver.url)).toEqual({ status: 307 });
    expect(receiver.received).toHaveLength(1);
  });

  test("waits 15 s for an answer that never comes", async () => {
    receiver.answer = () => undefined;
    const sent = send(toLoopback(), receiver.url);
    const { closed } = await receiver.get(1);
    await clock.advance(CALLBACK.timeout_ms - 1);
    expect(await Promise.race([sent, settled()])).toBeUndefined();
    await clock.advance(1);
    expect(await sent).toEqual({ problem: "There was no answer within 15 s" });
    await closed;
  });

  test("an answer whose body never ends counts after 10 s", async () => {
    const { promise: flushed, resolve } = Promise.withResolvers<void>();
    receiver.answer = (response) => response.writeHead(200).write("x", () => resolve());
    const sent = send(toLoopback(), receiver.url);
    const { closed } = await receiver.get(1);
    await flushed;
    // Everything sent earlier arrives before the answer to this.
    receiver.answer = 204;
    await fetch(receiver.url);
    await clock.advance(CALLBACK.timeout_ms);
    expect(await sent).toEqual({ status: 200 });
    await closed;
  });

  test("an endless answer is cut off", async () => {
    let written = 0;
    receiver.answer = (response) => {
      response.writeHead(200);
      const write = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536;
        response.once("drain", write);
      };
      write();
    };
    expect(await send(toLoopback(), receiver.url)).toEqual({ status: 200 });
    await (
      await receiver.get(1)
    ).closed;
    // We cannot limit the kernel's buffers.
    expect(written).toBeLessThan(100 * CALLBACK.answer_bytes);
  });

  test.each<[what: string, answer: string, problem: string]>([
    ["nothing", "", "socket hang up"],
    ["something that is not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "Parse Error"],
    ["half a head", "HTTP/1.1 200 OK\r\nA: ", "socket hang up"],
    ["a head without an end", `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(50_000)}`, "Parse Error"],
    ["a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ""],
  ])("%s instead of an answer is a problem", async (_, answer, problem) => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    expect(await send(toLoopback(), `http://127.0.0.1:${port}/`)).toEqual({
      problem: expect.stringContaining(problem),
    });
    await new Promise((resolve) => server.close(resolve));
    expect(clock.pending).toBe(0);
  });

  test("an address without a listener is a problem, and so are several", async () => {
    const { port } = receiver;
    await receiver[Symbol.asyncDispose]();
    for (const addresses of [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]]) {
      const sender = senderTo(["127.0.0.0/8"], async () => addresses);
      expect(await send(sender, `http://hooks.example:${port}/`)).toEqual({
        problem: expect.stringMatching(/ECONNREFUSED hooks\.example:/),
        detail: expect.stringMatching(/ECONNREFUSED 127\./),
      });
    }
  });

  test("a server that stops ends the attempt", async () => {
    receiver.answer = () => undefined;
    const abort = new AbortController();
    const sent = send(toLoopback(), receiver.url, abort.signal);
    const { closed } = await receiver.get(1);
    abort.abort();
    expect(await sent).toEqual({ problem: "The server stopped" });
    await closed;
    expect(clock.pending).toBe(0);
  });
});

describe("CallbackSender: addresses", () => {
  const url = () => `http://hooks.example:${receiver.port}/x`;

  test("a name is resolved once for each attempt, and the connection goes to that address", async () => {
    const asked: string[] = [];
    // The second answer is for a sender that resolves twice: nothing listens there.
    const sender = senderTo(["127.0.0.1"], async (name) => [asked.push(name) === 1 ? "127.0.0.1" : "127.0.0.9"]);
    expect(await send(sender, url())).toEqual({ status: 204 });
    expect(asked).toEqual(["hooks.example"]);
    expect(receiver.received[0]?.headers.host).toBe(`hooks.example:${receiver.port}`);
    expect(await send(sender, url())).toMatchObject({ detail: expect.stringContaining("127.0.0.9") });
  });

  test("the next address is tried if the first has no listener", async () => {
    expect(
      await send(
        senderTo(["127.0.0.0/8"], async () => ["127.0.0.2", "127.0.0.1"]),
        url(),
      ),
    ).toEqual({ status: 204 });
  });

  const NOT_PUBLIC =
    "hooks.example does not lead to a public address; whoever runs the server may allow it with CALLBACK_ALLOW";

  test.each([["127.0.0.1"], ["::1"]])(
    "a failed connection to %s does not tell the sender's caller that address",
    async (address) => {
      const sent = await send(
        senderTo(["hooks.example"], async () => [address]),
        "http://hooks.example:1/",
      );
      expect(sent).toEqual({
        problem: "connect ECONNREFUSED hooks.example:1",
        detail: `connect ECONNREFUSED ${address}:1`,
      });
    },
  );

  test.each([
    ["a private one", ["10.0.0.1"], "10.0.0.1"],
    ["a private one among public ones", ["8.8.8.8", "192.168.0.1", "1.1.1.1"], "192.168.0.1"],
    ["loopback", ["127.0.0.1"], "127.0.0.1"],
    ["loopback, mapped", ["::ffff:127.0.0.1"], "::ffff:127.0.0.1"],
    ["something that is not an address", ["fe80::1%eth0"], "fe80::1%eth0"],
  ])("a name that resolves to %s is refused without a connection", async (_, addresses, refused) => {
    expect(
      await send(
        senderTo([], async () => addresses),
        url(),
      ),
    ).toEqual({
      problem: NOT_PUBLIC,
      // Only the server's log has the address (B9).
      detail: `${NOT_PUBLIC}: ${refused}`,
    });
    expect(receiver.received).toEqual([]);
  });

  test.each(["http://127.0.0.1", "http://2130706433", "http://[::ffff:7f00:1]", "http://0x7f.1"])(
    "%s is refused without being resolved",
    async (origin) => {
      const sender = senderTo([], () => Promise.reject(new Error("it was resolved")));
      expect(await send(sender, `${origin}:${receiver.port}/`)).toEqual({
        problem: expect.stringMatching(/^\S+ is not a public address; /),
      });
      expect(receiver.received).toEqual([]);
    },
  );

  test("localhost is resolved by the system, and refused unless it is allowed", async () => {
    const local = `http://localhost:${receiver.port}/`;
    expect(await send(senderTo([]), local)).toEqual({
      problem: expect.stringContaining("localhost does not lead to "),
      detail: expect.any(String),
    });
    expect(await send(senderTo(["localhost"]), local)).toEqual({ status: 204 });
  });

  test("an allowed name may resolve to any address", async () => {
    const sender = senderTo(["hooks.example"], async () => ["127.0.0.1"]);
    expect(await send(sender, url().replace("example", "EXAMPLE."))).toEqual({ status: 204 });
    expect(await send(sender, url().replace("hooks", "other"))).toMatchObject({ problem: expect.any(String) });
  });

  test("a name without an address, and one that cannot be resolved, are problems", async () => {
    expect(
      await send(
        senderTo([], async () => []),
        url(),
      ),
    ).toEqual({ problem: "hooks.example has no address" });
    const failing = senderTo([], () => Promise.reject(new Error("getaddrinfo ENOTFOUND hooks.example")));
    expect(await send(failing, url())).toEqual({ problem: "getaddrinfo ENOTFOUND hooks.example" });
  });

  test("a name that never resolves is given up after 15 s", async () => {
    const sent = send(
      senderTo([], () => new Promise(() => undefined)),
      url(),
    );
    await clock.advance(CALLBACK.timeout_ms);
    expect(await sent).toEqual({ problem: "There was no answer within 15 s" });
  });
});

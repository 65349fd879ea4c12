import { describe, expect, test } from "bun:test";
import { bytesOf, type FunctionResponse } from "../../../lib/domain/calls/http-message.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../../../lib/domain/limits.ts";
import { createLogger } from "../../../lib/log.ts";
import type { PassedOn } from "../../../lib/services/calls/call.ts";
import { AnswerSeal } from "../../../lib/services/cluster/wire/answer-seal.ts";
import { encodeAnswer } from "../../../lib/services/cluster/wire/hop-answer.ts";
import { encodeFrame, FRAME } from "../../../lib/services/cluster/wire/hop-frames.ts";
import { REFUSAL_HEADER } from "../../../lib/services/cluster/hop-signature.ts";
import { Hops } from "../../../lib/services/cluster/hops.ts";
import { Peers } from "../../../lib/services/cluster/peers.ts";
import { someFunction, someInvocation } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { type Arrived, type Behaviour, endless, head, HostileServer } from "./support/hostile-server.ts";

const KEY = crypto.getRandomValues(new Uint8Array(32));
const WHOLE_BYTES = 1024 * 1024;
const fn = someFunction("f1", { timeout_ms: 30_000 });
const invocation = someInvocation("i1");

/** A server that has reported ready calls at an address. */
function peerAt(url: string) {
  return { id: "b", epoch: "e", url, version: "1", age_ms: 0, ready_calls: { f: 9 }, engine: null };
}

/** A server that knows of one other. */
function serverKnowing(url: string) {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLogger({ level: "debug", format: "json", clock, write: (line) => void lines.push(line) });
  const others = [peerAt(url)];
  const peers = new Peers({ members: { others }, version: "1", key: KEY, clock });
  const runner = { isOpenTo: () => false, versionKey: () => "f" };
  const hops = new Hops({ runner, peers, key: KEY, version: "1", whole_bytes: WHOLE_BYTES, clock, log });
  const client = new AbortController();
  const invoke = (): Promise<PassedOn | undefined> | undefined =>
    hops.invoke(
      {
        id: "i1",
        target: { function: fn, route_id: null, key_id: null },
        request: { method: "POST", url: "/", headers: {}, body: Buffer.from("{}"), via: null },
        signal: client.signal,
      },
      new AbortController().signal,
    );
  return { clock, lines, invoke, client };
}

type Knowing = ReturnType<typeof serverKnowing>;

/** Makes a call that is passed on to a program that behaves so; returns its answer with its body, or the reason of its error. */
async function callOf(behave: Behaviour, meanwhile: (server: Knowing) => Promise<void> = async () => undefined) {
  await using hostile = await HostileServer.start(KEY, behave);
  const server = serverKnowing(hostile.url);
  const { clock, invoke } = server;
  const made = outcomeOf(invoke());
  await meanwhile(server);
  const outcome = await made;
  // Nothing of it is left: no connection, no timer.
  await hostile.left();
  expect(clock.pending).toBe(0);
  expect(hostile.requests.length).toBeLessThanOrEqual(1);
  return outcome;
}

async function outcomeOf(made: Promise<PassedOn | undefined> | undefined) {
  try {
    const passed = await made;
    if (passed === undefined) return "made here";
    const { answer, recorded } = passed;
    const body = answer.response && Buffer.from(await bytesOf(answer.response.body)).toString();
    await recorded;
    return { status: answer.response?.status, body };
  } catch (error) {
    return error instanceof AppError ? error.reason : "cut";
  }
}

async function messageOf(seal: AnswerSeal, response: FunctionResponse | null): Promise<Buffer> {
  const answering = Promise.resolve({ invocation, response });
  return Buffer.from(await bytesOf(encodeAnswer({ answering, readyCalls: 1, recorded: async () => undefined }, seal)));
}

const answerOf = (text: string): FunctionResponse => ({ status: 200, headers: [], body: Buffer.from(text) });

const sends =
  (make: (arrived: Arrived) => Promise<Uint8Array> | Uint8Array): Behaviour =>
  (arrived) => {
    head(arrived.socket);
    void Promise.resolve(make(arrived)).then((bytes) => arrived.socket.end(bytes));
  };

const numbered = (seal: AnswerSeal, length: number) => {
  const frame = encodeFrame(seal, FRAME.accepted, Buffer.from("1"));
  new DataView(frame.buffer).setUint32(0, length);
  return frame;
};

/** A head that says how long the body is. */
const headFrame = (seal: AnswerSeal, length: number | null) =>
  encodeFrame(
    seal,
    FRAME.head,
    Buffer.from(JSON.stringify({ invocation, response: { status: 200, headers: [], length } })),
  );
const accepted = (seal: AnswerSeal) => encodeFrame(seal, FRAME.accepted, Buffer.from("1"));
const piece = (seal: AnswerSeal, bytes = 5) => encodeFrame(seal, FRAME.body, Buffer.alloc(bytes, "x"));
const end = (seal: AnswerSeal) => encodeFrame(seal, FRAME.end, Buffer.alloc(0));

test("a call is answered by the server that was asked, and made here if that refuses it", async () => {
  const answered = await callOf(sends(({ seal }) => messageOf(seal, answerOf("hello"))));
  expect(answered).toEqual({ status: 200, body: "hello" });
  const long = "x".repeat(WHOLE_BYTES);
  expect(await callOf(sends(({ seal }) => messageOf(seal, answerOf(long))))).toEqual({ status: 200, body: long });
  const refuses: Behaviour = ({ socket, seal }) => {
    head(socket, "503 Busy", [`${REFUSAL_HEADER}: ${seal.refusal}`]);
    // Nobody reads it.
    endless(socket, "no");
  };
  expect(await callOf(refuses)).toBe("made here");
});

describe("a call may have run, and so is made nowhere else, if what comes back is", () => {
  const stranger = new AnswerSeal(new Uint8Array(32), Buffer.from("x"));
  const behaviours: Record<string, Behaviour> = {
    "the page of another program": sends(() => Buffer.from("<html>Welcome</html>".repeat(100))),
    "its 404": ({ socket }) => head(socket, "404 Not Found"),
    "its 503": ({ socket }) => head(socket, "503 Service Unavailable"),
    "its redirect": ({ socket }) => head(socket, "307 Temporary Redirect", ["Location: /elsewhere"]),
    "an error page without an end": ({ socket }) => {
      head(socket, "500 Internal Server Error");
      endless(socket, "sorry");
    },
    "a page without an end": ({ socket }) => {
      head(socket);
      endless(socket, "\0\0\0\x01welcome");
    },
    "not HTTP": ({ socket }) => endless(socket, "SSH-2.0-"),
    "nothing, as it hangs up": ({ socket }) => socket.end(),
    "an answer signed with another key": sends(() => messageOf(stranger, answerOf("forged"))),
    "a refusal signed with another key": ({ socket }) =>
      head(socket, "503 Busy", [`${REFUSAL_HEADER}: ${stranger.refusal}`]),
    "a part of a refusal": ({ socket, seal }) =>
      head(socket, "503 Busy", [`${REFUSAL_HEADER}: ${seal.refusal.slice(0, -2)}`]),
    "an answer without its beginning": sends(({ seal }) => Buffer.concat([headFrame(seal, 0), end(seal)])),
    "an answer that is cut": sends(async ({ seal }) => (await messageOf(seal, answerOf("hello"))).subarray(0, -60)),
    "an answer whose body is changed": sends(async ({ seal }) => {
      const message = await messageOf(seal, answerOf("hello"));
      message.write("jello", message.indexOf("hello"));
      return message;
    }),
    "an answer whose head is changed": sends(async ({ seal }) => {
      const message = await messageOf(seal, answerOf("hello"));
      message.write("201", message.indexOf('"status":200') + '"status":'.length);
      return message;
    }),
    "an answer without one of its pieces": sends(({ seal }) => {
      const frames = [accepted(seal), headFrame(seal, 10), piece(seal), piece(seal), end(seal)];
      return Buffer.concat(frames.toSpliced(2, 1));
    }),
    "an answer with a piece that comes twice": sends(({ seal }) => {
      const frames = [accepted(seal), headFrame(seal, 10), piece(seal), end(seal)];
      return Buffer.concat([...frames.slice(0, 3), ...frames.slice(2)]);
    }),
    "a frame without bytes": sends(({ seal }) => numbered(seal, 0)),
    "a frame of 4 GB": ({ socket, seal }) => {
      head(socket);
      socket.write(numbered(seal, 2 ** 32 - 1));
      endless(socket, "x");
    },
    "a body that is shorter than it says": sends(({ seal }) =>
      Buffer.concat([accepted(seal), headFrame(seal, 6), piece(seal), end(seal)]),
    ),
    "a body after the end of the body": sends(({ seal }) =>
      Buffer.concat([accepted(seal), end(seal), headFrame(seal, 5), piece(seal)]),
    ),
    "an unknown encoding": sends(() => Buffer.from(Bun.gzipSync(Buffer.alloc(64 * 1024 * 1024)))),
    "an encoding that would be unpacked": ({ socket }) => {
      head(socket, "200 OK", ["Content-Encoding: gzip"]);
      socket.end(Bun.gzipSync(Buffer.alloc(64 * 1024 * 1024)));
    },
  };
  test.each(Object.entries(behaviours))("%s", async (_name, behave) => {
    expect(await callOf(behave)).toBe("instance_lost");
  });

  test("the answer to another call", async () => {
    let first: Buffer | undefined;
    const replays = sends(async ({ seal }) => (first ??= await messageOf(seal, answerOf("hello"))));
    await using hostile = await HostileServer.start(KEY, replays);
    const { invoke } = serverKnowing(hostile.url);
    expect(await outcomeOf(invoke())).toEqual({ status: 200, body: "hello" });
    expect(await outcomeOf(invoke())).toBe("instance_lost");
  });

  test("the refusal of another call", async () => {
    let first: string | undefined;
    const refuses: Behaviour = ({ socket, seal }) =>
      head(socket, "503 Busy", [`${REFUSAL_HEADER}: ${(first ??= seal.refusal)}`]);
    expect(await callOf(refuses)).toBe("made here");
    expect(await callOf(refuses)).toBe("instance_lost");
  });
});

test("an answer that comes as a whole is within the limit of this server", async () => {
  const over = answerOf("x".repeat(WHOLE_BYTES + 1));
  expect(await callOf(sends(({ seal }) => messageOf(seal, over)))).toBe("response_too_large");
  const more: Behaviour = ({ socket, seal }) => {
    head(socket);
    socket.write(Buffer.concat([accepted(seal), headFrame(seal, 6), piece(seal), piece(seal)]));
  };
  expect(await callOf(more)).toBe("response_too_large");
});

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));

describe("a call ends within its time if the other server", () => {
  const begins: Record<string, Behaviour> = {
    "says nothing": () => undefined,
    "says one letter": ({ socket }) => void socket.write("H"),
    "sends a head without an end": ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nX-A: "),
    "sends a head alone": ({ socket }) => head(socket),
    "sends half a frame": ({ socket }) => {
      head(socket);
      socket.write(Buffer.alloc(30));
    },
  };
  test.each(Object.entries(begins))("%s", async (_name, behave) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const arrives: Behaviour = (arrived) => {
      behave(arrived);
      resolve();
    };
    const passing = async ({ clock }: Knowing) => {
      await promise;
      await clock.advance(10_000);
    };
    expect(await callOf(arrives, passing)).toBe("instance_lost");
  });

  const goesOn: Record<string, (seal: AnswerSeal) => Uint8Array[]> = {
    "accepts it, and no more": (seal) => [accepted(seal)],
    "sends half of the body": (seal) => [accepted(seal), headFrame(seal, 10), piece(seal)],
  };
  test.each(Object.entries(goesOn))("%s", async (_name, frames) => {
    const behave: Behaviour = ({ socket, seal }) => {
      head(socket);
      socket.write(Buffer.concat(frames(seal)));
    };
    const passing = async ({ clock, lines }: Knowing) => {
      while (!lines.some((line) => line.includes("call passed on"))) await turn();
      await clock.advance(fn.timeout_ms + KILL_GRACE_MS + TIMEOUT_SLACK_MS + 10_000);
    };
    expect(await callOf(behave, passing)).toBe("instance_lost");
  });
});

describe("a body that streams", () => {
  const begins: Behaviour = ({ socket, seal }) => {
    head(socket);
    socket.write(Buffer.concat([accepted(seal), headFrame(seal, null), piece(seal)]));
  };

  async function readerOf(hostile: HostileServer) {
    const server = serverKnowing(hostile.url);
    const passed = await server.invoke();
    const body = passed?.answer.response?.body;
    if (!(body instanceof ReadableStream)) throw new Error("It does not stream");
    const reader = body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("xxxxx");
    return { ...server, reader, recorded: passed?.recorded };
  }

  test("fails when the server says nothing more for the time of the function, and not while its reader takes nothing", async () => {
    await using hostile = await HostileServer.start(KEY, begins);
    const { clock, reader, recorded } = await readerOf(hostile);
    await clock.advance(3_600_000);
    const next = reader.read().catch(() => "cut");
    await clock.advance(10_000);
    expect(await next).toBe("cut");
    await recorded;
    await hostile.left();
    expect(clock.pending).toBe(0);
  });

  test("fails when the server hangs up", async () => {
    await using hostile = await HostileServer.start(KEY, (arrived) => {
      begins(arrived);
      arrived.socket.end();
    });
    const { reader, recorded } = await readerOf(hostile);
    expect(await reader.read().catch(() => "cut")).toBe("cut");
    await recorded;
  });

  test("ends when its reader leaves, and so does the connection", async () => {
    await using hostile = await HostileServer.start(KEY, begins);
    const { clock, reader, recorded } = await readerOf(hostile);
    await reader.cancel();
    await recorded;
    await hostile.left();
    expect(clock.pending).toBe(0);
  });
});

test("a server that has answered wrongly is asked again when it has signed that it is there", async () => {
  let isItself = false;
  const behave: Behaviour = ({ socket, seal }) => {
    if (isItself) head(socket, "400 Bad Request", [`${REFUSAL_HEADER}: ${seal.refusal}`]);
    else head(socket, "200 OK");
    socket.end();
  };
  await using hostile = await HostileServer.start(KEY, behave);
  const { clock, invoke } = serverKnowing(hostile.url);
  expect(await outcomeOf(invoke())).toBe("instance_lost");
  const asked = async (count: number) => {
    expect(invoke()).toBeUndefined();
    await clock.advance(10_000);
    expect(invoke()).toBeUndefined();
    while (hostile.requests.length < count) await turn();
    await hostile.left();
  };
  await asked(2);
  isItself = true;
  await asked(3);
  let made = invoke();
  // The answer to the question is on its way.
  while (made === undefined) {
    await turn();
    made = invoke();
  }
  expect(await outcomeOf(made)).toBe("made here");
});

import { afterEach, beforeEach, expect, test } from "bun:test";
import { type IdempotentRequest, idempotentRequest } from "../../../lib/domain/calls/idempotency.ts";
import { type BufferedRequest, plainRequest, type ResponseHeader } from "../../../lib/domain/calls/http-message.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import { IdempotentCalls } from "../../../lib/services/calls/idempotent-calls.ts";
import type { Answer } from "../../../lib/services/calls/call.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  someFunction,
  someInvocation,
} from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

// EDGE.md D5.

const KEY: IdempotentRequest = { key: "k", request_hash: "one", caller: null };

let store: SqliteStore;
beforeEach(() => {
  store = newStore();
});
afterEach(() => store[Symbol.dispose]());

/** Calls of a server whose function gives these answers, and the ids of the calls that were made. */
function server(
  answer: (id: string) => Promise<Answer> = async (id) => ok(id),
  ledger: ConstructorParameters<typeof IdempotentCalls>[0]["ledger"] = store.ledger,
  wait: (id: string) => Promise<Invocation> = async (id) => someInvocation(id),
) {
  const made: string[] = [];
  const undelivered: string[] = [];
  const clock = new FakeClock();
  const invocations = {
    undelivered: (id: string) => void undelivered.push(id),
    invoke: ({ id }: { readonly id: string }) => {
      made.push(id);
      return answer(id);
    },
  };
  const calls = new IdempotentCalls({
    ledger,
    invocations,
    results: { wait },
    kept_bytes: 8,
    clock,
    log: listeningLog().log,
  });
  const keyed = (id: string, signal: AbortSignal, via: BufferedRequest["via"]) => ({
    id,
    target: { function: someFunction("f1"), route_id: null, key_id: null },
    request: { ...plainRequest(Buffer.from("{}")), via },
    signal,
  });
  const call = (id: string, signal = new AbortController().signal, via: BufferedRequest["via"] = null) =>
    calls.invoke(keyed(id, signal, via), KEY);
  const stream = (id: string) => calls.stream(keyed(id, new AbortController().signal, null), KEY);
  const optional = (id: string) =>
    calls.invoke(keyed(id, new AbortController().signal, null), { ...KEY, is_optional: true });
  return { call, stream, optional, calls, made, undelivered, clock };
}

function ok(id: string, fields: Partial<Answer> = {}): Answer {
  const body = new Response("stream").body ?? Buffer.from("");
  return { invocation: someInvocation(id), response: { status: 201, headers: [["x-a", "1"]], body }, ...fields };
}

/** The text of an answer's body, which can be read once only if it is a stream. */
async function textOf(made: Awaited<ReturnType<IdempotentCalls["invoke"]>>): Promise<string> {
  if ("queued" in made) throw new Error("it is queued");
  const body = made.answer.response?.body;
  return body === undefined ? "" : new Response(body instanceof Uint8Array ? Buffer.from(body) : body).text();
}

test("an answer that is a stream is read once, and given to all that wait", async () => {
  const { call, made } = server();
  const all = await Promise.all(["a", "b", "c"].map((id) => call(id)));
  expect(await Promise.all(all.map(textOf))).toEqual(["stream", "stream", "stream"]);
  expect(await textOf(await server().call("d"))).toBe("stream");
  expect(made).toEqual(["a"]);
  expect(await call("e")).toMatchObject({
    replayed: true,
    answer: { response: { status: 201, headers: [["x-a", "1"]] } },
  });
});

const HERE = { path: "/", path_rest: "", query: {}, query_string: "", client_address: null };
const AT_HOST = { ...HERE, host: "app.example.com", route: "app.example.com/*" };

test("a repeat at a host of its own has the headers that speak for its origin, as the answer itself had", async () => {
  const headers: ResponseHeader[] = [["strict-transport-security", "max-age=1"]];
  const answer = async (id: string) => ok(id, { response: { status: 200, headers, body: Buffer.from("") } });
  const { call } = server(answer);
  const signal = new AbortController().signal;
  await call("a", signal, AT_HOST);
  // From the store: the call itself is not remembered any longer.
  expect(await server().call("b", signal, AT_HOST)).toMatchObject({
    replayed: true,
    answer: { response: { headers } },
  });
});

test("a key is for the request at one host", () => {
  const hashAt = (via: BufferedRequest["via"]) =>
    idempotentRequest("k", { ...plainRequest(Buffer.from("{}")), via }, false).request_hash;
  const below = { ...HERE, route: "/" };
  const others = [below, { ...AT_HOST, host: "www.example.com" }].map(hashAt);
  expect(new Set([hashAt(AT_HOST), ...others]).size).toBe(3);
  // As versions before hosts have stored it.
  expect(hashAt(below)).toBe(new Bun.CryptoHasher("sha256").update("POST /\n{}").digest("hex"));
});

test("a caller who leaves before the answer did not get it, and one who leaves a repeat changes nothing", async () => {
  const answered = Promise.withResolvers<void>();
  const { call, undelivered } = server(async (id) => answered.promise.then(() => ok(id)));
  const [first, second] = [new AbortController(), new AbortController()];
  const left = [rejectionOf(call("a", first.signal)), rejectionOf(call("b", second.signal))];
  second.abort();
  await left[1];
  first.abort();
  await left[0];
  expect(undelivered).toEqual([]);
  answered.resolve();
  await call("c");
  expect(undelivered).toEqual(["a"]);
});

test("a call that never reached its function may be made again with the key", async () => {
  const refusal = new AppError("overloaded", "Too much waits");
  let answers: (() => Promise<Answer>)[] = [
    () => Promise.reject(refusal),
    async () => ({
      invocation: someInvocation("b", { reason: "engine_unavailable" }),
      response: null,
      not_begun: true,
    }),
  ];
  const { call, made } = server((id) => (answers.shift() ?? (async () => ok(id)))());
  expect(await rejectionOf(call("a"))).toBe(refusal);
  expect(await call("b")).toMatchObject({ replayed: false, answer: { response: null } });
  expect(await call("c")).toMatchObject({ replayed: false });
  expect(await call("d")).toMatchObject({ replayed: true });
  expect(made).toEqual(["a", "b", "c"]);
});

test("what was cut off with its server is not made twice, and said to be lost", async () => {
  const never = new Promise<Answer>(() => undefined);
  void server(() => never).call("a");
  const next = server();
  expect(await next.call("b")).toMatchObject({
    replayed: true,
    answer: { invocation: { id: "a", reason: "instance_lost" }, response: null },
  });
  expect(next.made).toEqual([]);
});

test("a client that goes away does not end the call", async () => {
  const end = Promise.withResolvers<Answer>();
  const { call, made } = server(() => end.promise);
  const gone = new AbortController();
  const first = call("a", gone.signal);
  gone.abort();
  expect(await rejectionOf(first)).toMatchObject({ reason: "cancelled" });
  const second = call("b");
  end.resolve(ok("a"));
  expect(await second).toMatchObject({ replayed: true, answer: { invocation: { id: "a" } } });
  expect(made).toEqual(["a"]);
});

test("a request is needed until its call has ended, also when its client has gone", async () => {
  const end = Promise.withResolvers<Answer>();
  const { call, calls } = server(() => end.promise);
  const gone = new AbortController();
  const left = rejectionOf(call("a", gone.signal));
  gone.abort();
  await left;
  let ended = "";
  calls.whenEnded("a", () => (ended += "a"));
  calls.whenEnded("other", () => (ended += "other"));
  expect(ended).toBe("other");
  end.resolve(ok("a"));
  await call("b");
  expect(ended).toBe("othera");
});

test("while the database does not answer, only calls that need no key are made", async () => {
  const away = () => Promise.reject(new AppError("database_unavailable", "away"));
  const { call, optional, made } = server(async (id) => ok(id), { keepKey: away, keepAnswer: away, dropKey: away });
  expect(await rejectionOf(call("a"))).toMatchObject({ reason: "database_unavailable" });
  expect(await textOf(await optional("b"))).toBe("stream");
  expect(made).toEqual(["b"]);
  const full = () => Promise.reject(new AppError("storage_full", "full"));
  const other = server(async (id) => ok(id), { keepKey: full, keepAnswer: full, dropKey: full });
  expect(await rejectionOf(other.optional("c"))).toMatchObject({ reason: "storage_full" });
});

test("a key that was written although the database did not say so is forgotten once it answers: no call was made", async () => {
  const away = new AppError("database_unavailable", "away");
  let answers = false;
  const lossy: typeof store.ledger.keepKey = async (...both) => {
    const found = await store.ledger.keepKey(...both);
    if (!answers) throw away;
    return found;
  };
  const { ledger } = store;
  const { call, made, clock } = server(undefined, {
    keepKey: lossy,
    keepAnswer: (answer) => ledger.keepAnswer(answer),
    dropKey: (...both) => (answers ? ledger.dropKey(...both) : Promise.reject(away)),
  });
  expect(await rejectionOf(call("a"))).toMatchObject({ reason: "database_unavailable" });
  await clock.advance(2_000);
  answers = true;
  expect(await call("b")).toMatchObject({ replayed: true, answer: { invocation: { reason: "instance_lost" } } });
  await clock.advance(2_000);
  expect(await call("c")).toMatchObject({ replayed: false });
  expect(made).toEqual(["c"]);
});

test("an answer that is read while it comes is kept, up to a limit, also when its reader leaves", async () => {
  const { stream } = server();
  const first = await stream("a");
  expect(first).toMatchObject({ replayed: false });
  if ("queued" in first || !(first.answer.response?.body instanceof ReadableStream))
    throw new Error("it does not stream");
  const later = stream("b");
  await first.answer.response.body.cancel();
  expect(await textOf(await later)).toBe("stream");
  expect(await first.ended).toEqual(someInvocation("a"));
  expect(await textOf(await server().call("c"))).toBe("stream");
});

test("a streamed call whose record cannot be read at its end was made all the same: its key stays", async () => {
  const away = new AppError("database_unavailable", "The database does not answer");
  const { stream, made } = server(undefined, undefined, () => Promise.reject(away));
  expect(await textOf(await stream("a"))).toBe("stream");
  expect(await stream("b")).toMatchObject({ replayed: true, answer: { invocation: { id: "a" } } });
  expect(made).toEqual(["a"]);
});

test("an answer that is longer than what is kept reaches its reader whole, and others are told nothing of it", async () => {
  const body = new Response("longer than 8 bytes").body ?? Buffer.from("");
  const { call, stream } = server(async (id) => ok(id, { response: { status: 200, headers: [], body } }));
  const first = await stream("a");
  expect(await textOf(first)).toBe("longer than 8 bytes");
  expect(await call("b")).toMatchObject({ replayed: true, answer: { response: null } });
});

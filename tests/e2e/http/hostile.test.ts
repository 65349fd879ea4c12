import { expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** A server that answers with the bytes that its path spells (base64url), and then closes, resets, exits or goes on (`?then=`). */
const APP = `
const answers = new Map();
Bun.listen({ hostname: "0.0.0.0", port: Number(process.env.PORT), socket: { data(socket, data) {
  const [, path, then = "close"] = /^\\w+ \\/([\\w-]*)(?:\\?then=(\\w+))? /.exec(data.toString("latin1")) ?? [];
  if (path === undefined) return;
  socket.write(Buffer.from(path, "base64url"));
  if (then === "close") socket.end();
  if (then === "reset") { socket.flush(); socket.terminate(); }
  if (then === "exit") { socket.flush(); process.exit(9); }
  if (then === "flood") { const more = Buffer.alloc(65536, "x"); const flood = () => { while (socket.write(more) === more.length); }; flood(); setInterval(flood, 1); }
} } });
`;

const OK = "HTTP/1.1 200 OK\r\n";
/** Starts a server with one instance that serves all calls, and returns how to have it say something. */
async function hostile(server: TestServer): Promise<(answer: string, then?: string) => Promise<Response>> {
  const settings = { command: ["bun", "-e", APP], network: "none", max_calls: 0, concurrency: 16, timeout_ms: 3_000 };
  const fn = await server.createFunction(await fixture("bun"), { contract: "http", ...settings, warm_max: 1 });
  const { body } = await server.api("POST", "/v1/routes", { path: "/hostile/*", function_id: fn.id, methods: ["GET"] });
  if (!body.success) throw new Error(body.message);
  return (answer, then = "close") =>
    fetch(`${server.url}/r/hostile/${Buffer.from(answer, "latin1").toString("base64url")}?then=${then}`);
}

const reasonOf = async (response: Response) => ((await response.json()) as { reason: string }).reason;

/** The rows of answers that cannot be used, and those that only look so. */
const ANSWERS: readonly (readonly [what: string, answer: string, then: string, status: number])[] = [
  ["nothing", "", "close", 502],
  ["nothing, and a reset", "", "reset", 502],
  ["a greeting of SSH", "SSH-2.0-x\r\n", "close", 502],
  ["two lengths", `${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, "close", 502],
  ["a length and chunks", `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, "close", 502],
  ["a bare LF", "HTTP/1.1 200 OK\nX: y\n\n", "close", 502],
  ["a NUL in a value", `${OK}X: a\0\r\n\r\n`, "close", 502],
  ["a status of 600", "HTTP/1.1 600 X\r\n\r\n", "close", 502],
  ["101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "close", 502],
  ["257 headers", `${OK}${"X: y\r\n".repeat(257)}\r\n`, "close", 502],
  ["a short body that is cut off", `${OK}Content-Length: 9\r\n\r\nab`, "close", 502],
  ["interim answers first", `HTTP/1.1 103 Early Hints\r\n\r\n${OK}Content-Length: 2\r\n\r\nok`, "close", 200],
  ["more than it has declared", `${OK}Content-Length: 2\r\n\r\nok and more`, "close", 200],
  ["more than it has declared, without an end", `${OK}Content-Length: 2\r\n\r\nok`, "flood", 200],
];

test("a hostile server costs its own call alone: others that its instance serves at the same time are answered", async () => {
  await using server = await TestServer.start({ WARM_MAX: "1" });
  const ask = await hostile(server);
  const fine = `${OK}Content-Length: 4\r\n\r\nfine`;
  for (const [what, answer, then, status] of ANSWERS) {
    const [response, neighbour] = await Promise.all([ask(answer, then), ask(fine)]);
    const said = status === 200 ? await response.text() : await reasonOf(response);
    expect([what, response.status, said]).toEqual([what, status, status === 200 ? "ok" : "invalid_response"]);
    expect([what, neighbour.status, await neighbour.text()]).toEqual([what, 200, "fine"]);
  }
  // A body that ends too early: the connection is cut, and the caller sees that.
  for (const then of ["close", "reset"]) {
    const response = await ask(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`, then);
    expect(response.status).toBe(200);
    expect(await response.text().catch(() => "cut")).toBe("cut");
  }
  const late = await ask("HTTP/1.1 200 OK\r\nX: ", "wait");
  expect([late.status, await reasonOf(late)]).toEqual([504, "function_timeout"]);
});

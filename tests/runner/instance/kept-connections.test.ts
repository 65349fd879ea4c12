import { describe, expect, test } from "bun:test";
import { FakeApp } from "./fake-app.ts";

const SHORT = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const SHARED = { max_calls: 0, concurrency: 2 };

describe("BootedInstance", () => {
  test.each([
    ["a whole answer", {}, SHORT, true],
    ["an answer in chunks", {}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true],
    ["an answer without a body", {}, "HTTP/1.1 204 No Content\r\n\r\n", false],
    ["an answer whose body may come late", {}, "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\n", false],
    ["an answer and more", {}, `${SHORT}HTTP/1.1 200 OK\r\n`, false],
    ["an answer whose server closes", {}, SHORT.replace("\r\n", "\r\nConnection: close\r\n"), false],
    ["a request with a body", { method: "POST", body: Buffer.from("GET / HTTP/1.1\r\n\r\n") }, SHORT, false],
    ["a request that identifies its connection", { headers: { authorization: "Negotiate YII=" } }, SHORT, false],
  ])("keeps the connection for another one, or not: %s", async (_, request, answer, kept) => {
    const app = await new FakeApp(SHARED).boot();
    const call = app.call(request);
    await app.heard();
    const isOwn = Object.keys(request).length > 0;
    expect(app.stream(1).received.includes("\r\nConnection: close\r\n")).toBe(isOwn);
    await app.send(2, answer);
    await call;
    expect(app.stream(1)).toMatchObject({ closed: true, kept });
  });

  test("keeps no connection behind HEAD, and says so", async () => {
    const app = await new FakeApp(SHARED).boot();
    const call = app.call({ method: "HEAD" });
    await app.heard();
    expect(app.stream(1).received).toContain("\r\nConnection: close\r\n");
    await app.send(2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    await call;
    expect(app.stream(1)).toMatchObject({ closed: true, kept: false });
  });

  test("keeps no connection of an instance that serves one after the other", async () => {
    const app = await new FakeApp({ max_calls: 0 }).boot();
    const call = app.call();
    await app.heard();
    await app.send(2, SHORT);
    await call;
    expect(app.stream(1)).toMatchObject({ closed: true, kept: false });
  });
});

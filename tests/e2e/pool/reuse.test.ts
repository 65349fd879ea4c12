import { beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import type { TestServer } from "../../support/server.ts";
import { containersBecome, containersOf, environmentOf, isWarm, pool, seenBy, startOf, warmServer } from "./pools.ts";

let image: string;

beforeAll(async () => {
  image = await fixture("chaos");
});

async function engineCalls(server: TestServer): Promise<string[]> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  // The heartbeat pings independently.
  return text.split("\n").filter((line) => line.startsWith("slipway_engine_calls_total") && !line.includes('"ping"'));
}

describe("reuse", () => {
  test("max_calls 3 serves three calls in the same container, and the fourth in another", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 3, warm_max: 1 });
    const hosts: string[] = [];
    const pids = new Set<string>();
    for (let i = 0; i < 6; i++) {
      await pool(server, fn, isWarm);
      const response = await server.invoke(fn, { do: "env" });
      expect(startOf(response)).toBe("warm");
      const { environment, pid } = await seenBy(response);
      hosts.push(environment["HOSTNAME"] ?? "");
      pids.add(`${environment["HOSTNAME"]} ${pid}`);
    }
    expect(new Set(hosts.slice(0, 3)).size).toBe(1);
    expect(new Set(hosts.slice(3)).size).toBe(1);
    expect(hosts[0]).not.toBe(hosts[3]);
    // A fresh process each.
    expect(pids.size).toBe(6);
  });

  test("a call finds nothing of the previous one in its context, in /tmp or among the processes", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
    await pool(server, fn, isWarm);
    for (const path of ["/tmp/left", "/tmp/context/left", "/dev/shm/left", "/left"]) {
      expect((await server.invoke(fn, { do: "write", path, bytes: 10 })).status).toBe(200);
    }
    expect((await server.invoke(fn, { do: "grandchild" })).status).toBe(200);
    const seen = await seenBy(await server.invoke(fn, { do: "env" }));
    expect(seen.context.toSorted()).toEqual(["request.body", "request.json", "request.meta.json", "response.json"]);
    // Reuse keeps the writable layer; read_only prevents that.
    expect(seen.root).toContain("left");
    const again = await server.invoke(fn, { do: "write", path: "/tmp/context/left", bytes: 1 });
    expect(again.status).toBe(200);
  });

  test("read_only leaves a function /tmp, and no writable layer", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, read_only: true, warm_max: 1 });
    const write = async (path: string) => (await server.invoke(fn, { do: "write", path, bytes: 10 })).json();
    expect(await write("/left")).toMatchObject({ errno: "EROFS" });
    expect(await write("/tmp/left")).toMatchObject({ written: 10 });
  });

  test("needs no engine requests", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
    await pool(server, fn, isWarm);
    const asked = await engineCalls(server);
    for (let i = 0; i < 20; i++) expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
    expect(await engineCalls(server)).toEqual(asked);
  });

  test("a failing call keeps the container, a timeout ends it", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, timeout_ms: 1_000, warm_max: 1 });
    const [container] = await pool(server, fn, isWarm).then(() => containersOf(fn));
    const where = async () => (await environmentOf(await server.invoke(fn, { do: "env" })))["HOSTNAME"];
    expect((await server.invoke(fn, { do: "exit", code: 3 })).status).toBe(502);
    expect((await server.invoke(fn, { do: "signal" })).status).toBe(502);
    expect(container).toStartWith((await where()) ?? "none");
    expect((await server.invoke(fn, { do: "sleep" })).status).toBe(504);
    expect(container).not.toStartWith((await where()) ?? "none");
  });

  test("ends after idle_ttl_ms without calls", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0 });
    expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
    await pool(server, fn, ({ ready }) => ready > 0);
    const { environment } = await seenBy(await server.invoke(fn, { do: "env" }));
    expect((await containersOf(fn)).join()).toContain(environment["HOSTNAME"] ?? "none");
    // Not before: it could end while this test looks for it.
    await server.api("PATCH", `/v1/functions/${fn.id}`, { idle_ttl_ms: 1_000 });
    expect(await pool(server, fn, ({ target }) => target === 0)).toMatchObject({ busy: 0, starting: 0 });
    await pool(server, fn, ({ ready }) => ready === 0);
    await containersBecome(0, fn);
  });
});

import { afterEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";
import { expectProblem } from "./support/invariants.ts";

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

async function counts(server: SpawnedServer): Promise<{ busy: number; queued: number }> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const figure = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0);
  return { busy: figure(/\{state="busy"\} (\d+)/), queued: figure(/slipway_queued_calls (\d+)/) };
}

/** Sends calls to all places and the queue; returns them when at least `busy` run and the others are queued. */
async function withCalls(
  server: SpawnedServer,
  body: object,
  { busy, places = busy, queued = 0 }: { readonly busy: number; readonly places?: number; readonly queued?: number },
): Promise<Promise<Response>[]> {
  const image = await fixture("chaos");
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).ok)).toBe(true);
  const fn = await server.createFunction(image);
  const calls = Array.from({ length: places + queued }, () => accepted(() => server.invoke(fn, body)));
  const all = async () => {
    const now = await counts(server);
    return now.busy >= busy && now.queued === queued;
  };
  expect(await eventually(all)).toBe(true);
  return calls;
}

/** Repeats a call while the engine counts as dead, as one that is short of processor time may. */
async function accepted(invoke: () => Promise<Response>): Promise<Response> {
  for (;;) {
    const response = await invoke();
    if (response.status !== 503 || !(await response.clone().text()).includes('"engine_unavailable"')) return response;
    await Bun.sleep(100);
  }
}

describe("a server told to stop", () => {
  test.each<NodeJS.Signals>(["SIGTERM", "SIGINT"])(
    "by %s under load accepts no more connections, answers every call, and exits with 0",
    async (signal) => {
      await using server = await SpawnedServer.start({ MAX_INSTANCES: "2" });
      // The second container may still be starting: on a busy machine the first may end before.
      const body = { do: "sleep", ms: Math.min(4_000, 800 * (await slowdown())) };
      const calls = await withCalls(server, body, { busy: 1, places: 2, queued: 2 });
      server.kill(signal);
      await server.logged("draining");
      const late = await fetch(`${server.url}/v1/functions`).catch((error: unknown) => error);
      expect(late).toBeInstanceOf(Error);
      expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect(await server.exited).toBe(0);
    },
  );

  test("ends calls that outlast the grace period with 503, queued and running, and exits with 0", async () => {
    await using server = await SpawnedServer.start({ MAX_INSTANCES: "2", DRAIN_MS: "500" });
    const calls = await withCalls(server, { do: "ignore_term" }, { busy: 2, queued: 2 });
    const asked = performance.now();
    server.kill("SIGTERM");
    for (const call of calls) await expectProblem(await call, "shutting_down", /The server (?:stopped|is stopping)/);
    expect(await server.exited).toBe(0);
    await expectWithin(performance.now() - asked, 500 + 2_500);
  });

  test("refuses calls on an open connection", async () => {
    await using server = await SpawnedServer.start();
    const [call] = await withCalls(server, { do: "sleep", ms: 1_500 }, { busy: 1 });
    const answer = new Promise<string>((resolve) => {
      const text: string[] = [];
      void Bun.connect({
        hostname: "127.0.0.1",
        port: Number(new URL(server.url).port),
        socket: {
          open(socket) {
            socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
          },
          async data(socket, bytes) {
            text.push(bytes.toString());
            if (text.length > 1) return void socket.end();
            server.kill("SIGTERM");
            await server.logged("draining");
            socket.write("POST /r/any HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
          },
          close: () => resolve(text[1] ?? "closed"),
        },
      });
    });
    // Closed or answered: the call is not started.
    expect(await answer).toMatch(/^closed|^HTTP\/1\.1 (?:503|404) /);
    expect((await call)?.status).toBe(200);
    expect(await server.exited).toBe(0);
  });

  test("twice exits at once with 1, and the gates end their functions", async () => {
    await using server = await SpawnedServer.start();
    const calls = await withCalls(server, { do: "ignore_term" }, { busy: 1 });
    const ended = calls.map((call) => call.catch(() => "cut"));
    server.kill("SIGTERM");
    await server.logged("draining");
    const asked = performance.now();
    server.kill("SIGTERM");
    expect(await server.exited).toBe(1);
    await expectWithin(performance.now() - asked, 1_000);
    expect(await Promise.all(ended)).toEqual(["cut"]);
  });

  test("while the engine hangs does not wait for the engine", async () => {
    await using proxy = await EngineProxy.start((await acquireEngine()).socket);
    await using server = await SpawnedServer.start({ DRAIN_MS: "500", DOCKER_HOST: proxy.host });
    const calls = await withCalls(server, { do: "ignore_term" }, { busy: 1 });
    proxy.change(({ path }) => (path.startsWith("/containers/create") ? "hang" : "pass"));
    const asked = proxy.next(({ path }) => path.startsWith("/containers/create"));
    calls.push(server.invoke(await server.createFunction(await fixture("chaos")), {}));
    await asked;
    server.kill("SIGTERM");
    for (const call of calls) await expectProblem(await call, "shutting_down");
    const answered = performance.now();
    expect(await server.exited).toBe(0);
    await expectWithin(performance.now() - answered, 3_000);
  });

  test("in its DRAIN_DELAY_MS is not ready and answers calls, but leaves what is queued to the next server", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-leaving-"));
    const variables = { DATA_PATH: directory, DRAIN_DELAY_MS: "3600000" };
    try {
      let id: string;
      {
        await using server = await SpawnedServer.start(variables);
        expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).ok)).toBe(true);
        const fn = await server.createFunction(await fixture("chaos"));
        server.kill("SIGTERM");
        expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 503)).toBe(true);
        const path = `${server.url}/v1/functions/${fn.id}/invoke?async=true`;
        const submitted = await fetch(path, { method: "POST", body: '{"do": "echo"}' });
        expect(submitted.status).toBe(202);
        ({ id } = ((await submitted.json()) as { data: Invocation }).data); // an envelope
        expect((await server.invoke(fn, { do: "echo" })).status).toBe(200);
        expect(await statusOf(server, id)).toBe("queued");
      }
      await using next = await SpawnedServer.start(variables);
      expect(await eventually(async () => (await statusOf(next, id)) === "succeeded")).toBe(true);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

async function statusOf({ url }: SpawnedServer, id: string): Promise<string> {
  const response = await fetch(`${url}/v1/invocations/${id}`);
  return ((await response.json()) as { data: Invocation }).data.status; // an envelope
}

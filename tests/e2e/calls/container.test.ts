import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture, type FixtureName } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { answerOf, chaosFunctions } from "./support/answers.ts";

const MIB = 1024 * 1024;

let server: TestServer;
let chaos: Function;
let tight: Function;

beforeAll(async () => {
  server = await TestServer.start();
  ({ chaos, tight } = await chaosFunctions(server));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const call = (fn: Pick<Function, "id">, request: object | string) => answerOf(server, fn, request);

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

describe("an image of any kind answers", () => {
  const echoing: readonly FixtureName[] = [
    "chaos",
    "static",
    "distroless",
    "nonroot",
    "path-entrypoint",
    "healthcheck",
    "volume-at-context",
    "own-gate",
  ];
  test.each(echoing)("%s", async (name) => {
    const fn = await server.createFunction(await fixture(name));
    const { status, text } = await call(fn, '{"do": "echo",  "n": 12345678901234567890}\n');
    expect({ status, text }).toEqual({ status: 200, text: '{"do": "echo",  "n": 12345678901234567890}\n' });
  });

  test("shell, with its own WORKDIR and ENV", async () => {
    const fn = await server.createFunction(await fixture("shell"));
    const { status, json } = await call(fn, { a: 1 });
    expect(status).toBe(200);
    expect(json()).toEqual({ greeting: "hello", cwd: "/app", request: { a: 1 } });
  });

  test("bun", async () => {
    const fn = await server.createFunction(await fixture("bun"));
    expect((await call(fn, { a: 1 })).json()).toMatchObject({ request: { a: 1 } });
  });

  test.each([
    ["missing-entrypoint", "no such file"],
    ["not-executable", "not executable"],
    ["bad-format", "not a program for this machine"],
  ] as const)("%s gives 502 entrypoint_failed that names the command", async (name, why) => {
    const fn = await server.createFunction(await fixture(name));
    const { status, json } = await call(fn, {});
    expect(status).toBe(502);
    expect(json()).toMatchObject({ success: false, reason: "entrypoint_failed", data: null });
    expect(String(json()["message"])).toContain(why);
    expect(String(json()["message"])).toMatch(/command "\/\S+" cannot be executed/);
  });

  test("exit-127 counts as a function that ran", async () => {
    const fn = await server.createFunction(await fixture("exit-127"));
    const { status, json, response } = await call(fn, {});
    expect(status).toBe(502);
    expect(json()).toMatchObject({ reason: "function_failed" });
    expect(response.headers.get("x-function-exit-code")).toBe("127");
  });

  test("no-command is refused at registration", async () => {
    const reply = await server.api("POST", "/v1/functions", { image: await fixture("no-command") });
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({
      reason: "image_invalid",
      message: expect.stringContaining("ENTRYPOINT or CMD"),
    });
  });
});

describe("the container of a call", () => {
  test("has the sandbox of the design", async () => {
    const { json } = await call(chaos, { do: "env" });
    const { status, limits, mounts } = json();
    if (!isRecord(status) || !Array.isArray(mounts)) throw new Error("The fixture tells no status");
    expect(status).toMatchObject({ NoNewPrivs: "1", Seccomp: "2" });
    const capabilities = BigInt(`0x${String(status["CapEff"])}`);
    // NET_RAW 13, MKNOD 27, AUDIT_WRITE 29, SETFCAP 31; CHOWN 0 and SETUID 7 stay.
    for (const dropped of [13n, 27n, 29n, 31n]) expect((capabilities >> dropped) & 1n).toBe(0n);
    for (const kept of [0n, 7n]) expect((capabilities >> kept) & 1n).toBe(1n);
    // The hard limit of open files is 65,536, or the engine's own if that is less (EDGE C7).
    expect(limits).toMatchObject({ nofile: [1024, expect.any(Number)], core: [0, 0] });
    const context = mounts.map(String).find((line) => line.includes(" /tmp/context "));
    expect(context).toContain("tmpfs");
    expect(context).toContain(`size=${(64 * MIB) / 1024}k`);
    expect(mounts.map(String).find((line) => line.includes(" /.slipway "))).toMatch(/ ro[, ]/);
  });

  test.each([
    [{ do: "hog_memory" }, 502, "out_of_memory", "memory_bytes"],
    [{ do: "hog_memory_child" }, 502, "out_of_memory", "memory_bytes"],
    [{ do: "write", path: "/dev/shm/fill", bytes: 1e9 }, 502, "out_of_memory", "memory_bytes"],
  ])("is killed for its memory: %j is a %i %s", async (request, status, reason, message) => {
    const answer = await call(tight, request);
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ success: false, data: null, reason, request_id: answer.id });
    expect(String(answer.json()["message"])).toContain(message);
    expect(await server.invocation(answer.id)).toMatchObject({ reason });
  });

  test("forks endlessly: it is killed in time, at its timeout or for its memory", async () => {
    const { status, json } = await call(tight, { do: "fork_bomb", forever: 1 });
    expect([502, 504]).toContain(status);
    expect(["out_of_memory", "function_timeout"]).toContain(String(json()["reason"]));
    expect((await call(tight, { do: "exit" })).status).toBe(200);
  });

  test("forks, or opens files, until it cannot: the limits hold", async () => {
    // The gate and the function are two of the 128.
    expect((await call(chaos, { do: "fork_bomb" })).json()).toEqual({ forked: 126, errno: "EAGAIN" });
    expect((await call(chaos, { do: "fd_bomb" })).json()).toEqual({ opened: 1021, errno: "EMFILE" });
  });

  test("fills its context: it stops at the limit", async () => {
    const { json } = await call(chaos, { do: "write", path: "/tmp/context/fill", bytes: 1e9 });
    expect(json()).toMatchObject({ errno: "ENOSPC" });
    expect(Number(json()["written"])).toBeLessThanOrEqual(64 * MIB);
  });

  test("tries to reach the gate: it cannot", async () => {
    for (const name of ["chaos", "nonroot"] as const) {
      const { status, text, json } = await call(await server.createFunction(await fixture(name)), { do: "gate_fds" });
      expect(status).toBe(200);
      expect(text).not.toMatch(/opened|written/);
      expect(json()).toMatchObject({ mem: "EACCES", ptrace: "EPERM", process_vm_readv: "EPERM" });
    }
  });
});

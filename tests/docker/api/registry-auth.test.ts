import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../lib/clock.ts";
import { AppError } from "../../../lib/domain/errors.ts";
import type { RegistryCredentials } from "../../../lib/domain/images/registries.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { pullImage } from "../../../lib/docker/api/image-pull.ts";
import { checkCredentials, registryAuthHeaders } from "../../../lib/docker/api/registry-auth.ts";
import { createLogger } from "../../../lib/log.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

// Answers of other engine versions, and impossible ones; tests/e2e/images/registries.test.ts asks the real engine.

interface Received {
  readonly path: string;
  readonly auth: string;
  readonly body: string;
}
type Reply = (received: Received) => { readonly status: number; readonly text: string };

let directory: string;
let server: Server;
let connection: EngineConnection;
let reply: Reply;
let received: Received[];

const CREDENTIALS: RegistryCredentials = {
  host: "registry.example:5000",
  username: "someone",
  kind: "password",
  secret: "open sesame",
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-auth-"));
  received = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url?.includes("/_ping")) return response.writeHead(200, { "Api-Version": "1.41" }).end("OK");
      const auth = String(request.headers["x-registry-auth"] ?? "");
      const got = { path: request.url ?? "", auth, body: Buffer.concat(chunks).toString() };
      received.push(got);
      const { status, text } = reply(got);
      return response.writeHead(status).end(text);
    });
  });
  const socketPath = join(directory, "docker.sock");
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(socketPath, resolve);
  await promise;
  connection = new EngineConnection({
    address: { socketPath },
    timeout_ms: 5_000,
    clock: systemClock,
    metrics: new Metrics(),
  });
});

afterEach(async () => {
  connection[Symbol.dispose]();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

async function refusedLogin(credentials: RegistryCredentials, status: number, message: string): Promise<AppError> {
  reply = () => ({ status, text: JSON.stringify({ message }) });
  const thrown = await rejectionOf(checkCredentials(connection, credentials));
  if (!(thrown instanceof AppError)) throw new Error(`It threw ${String(thrown)}`);
  return thrown;
}

async function refusedPull(credentials: RegistryCredentials | undefined, how: Reply): Promise<AppError> {
  reply = how;
  const options = { connection, clock: systemClock, timeout_ms: 5_000 };
  const thrown = await rejectionOf(pullImage(options, "registry.example:5000/team/app:1", { credentials }));
  if (!(thrown instanceof AppError)) throw new Error(`It threw ${String(thrown)}`);
  return thrown;
}

function decode(header: string): unknown {
  return JSON.parse(Buffer.from(header, "base64url").toString());
}

describe("registryAuthHeaders", () => {
  test("are empty without credentials", () => {
    expect(registryAuthHeaders(undefined)).toEqual({});
  });

  test.each<[RegistryCredentials, object]>([
    [CREDENTIALS, { username: "someone", password: "open sesame", serveraddress: "registry.example:5000" }],
    [
      { host: "docker.io", username: null, kind: "identity_token", secret: "token" },
      { identitytoken: "token", serveraddress: "https://index.docker.io/v1/" },
    ],
  ])("hold %j", (credentials, expected) => {
    expect(decode(registryAuthHeaders(credentials)["X-Registry-Auth"] ?? "")).toEqual(expected as never);
  });

  test("are padded base64url, whatever the password", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1 }), (secret) => {
        const header = registryAuthHeaders({ ...CREDENTIALS, secret })["X-Registry-Auth"] ?? "";
        expect(header).toMatch(/^[A-Za-z0-9_-]+={0,2}$/);
        expect(header.length % 4).toBe(0);
        expect(decode(header)).toMatchObject({ password: secret });
      }),
    );
  });
});

describe("checkCredentials", () => {
  test("asks the engine, which logs in", async () => {
    reply = () => ({ status: 200, text: '{"IdentityToken":"","Status":"Login Succeeded"}' });
    await checkCredentials(connection, CREDENTIALS);
    expect(received.map(({ path }) => path)).toEqual(["/v1.41/auth?"]);
    expect(JSON.parse(received[0]?.body ?? "")).toEqual({
      username: "someone",
      password: "open sesame",
      serveraddress: "registry.example:5000",
    });
  });

  test.each<[status: number, message: string, reason: string]>([
    [500, "login attempt to http://x/v2/ failed with status: 401 Unauthorized", "registry_denied"],
    [401, 'Get "https://x/v2/": unauthorized: incorrect username or password', "registry_denied"],
    [500, 'Get "http://x/v2/": no basic auth credentials', "registry_denied"],
    [500, "login attempt to http://x/v2/ failed with status: 403 Forbidden", "registry_denied"],
    [500, "login attempt to http://x/v2/ failed with status: 404 Not Found", "registry_unavailable"],
    [500, 'Get "http://x/v2/": dial tcp 127.0.0.1:9: connect: connection refused', "registry_unavailable"],
    [500, 'Get "https://x/v2/": dial tcp: lookup x: no such host', "registry_unavailable"],
    [500, 'Get "https://x/v2/": x509: certificate signed by unknown authority', "registry_unavailable"],
    [500, "context deadline exceeded", "registry_unavailable"],
  ])("treats %i %s as %s", async (status, message, reason) => {
    const thrown = await refusedLogin(CREDENTIALS, status, message);
    expect([thrown.reason as string, thrown.message.includes(message)]).toEqual([reason, true]);
    expect(thrown.message).toContain("Nothing was stored");
  });

  test("throws engine_unavailable if the engine is away", async () => {
    server.close();
    await rm(join(directory, "docker.sock"), { force: true });
    const thrown = await rejectionOf(checkCredentials(connection, CREDENTIALS));
    expect(thrown).toMatchObject({ reason: "engine_unavailable" });
  });
});

describe("a pull", () => {
  test("sends the credentials", async () => {
    reply = () => ({ status: 200, text: '{"status":"Status: Image is up to date"}\r\n' });
    const options = { connection, clock: systemClock, timeout_ms: 5_000 };
    await pullImage(options, "registry.example:5000/team/app:1", { credentials: CREDENTIALS });
    expect(received[0]?.path).toContain("/images/create?fromImage=");
    expect(decode(received[0]?.auth ?? "")).toMatchObject({ username: "someone", password: "open sesame" });
  });

  test.each<[status: number, said: string, reason: string, message: string]>([
    [
      500,
      "unauthorized: authentication required",
      "registry_denied",
      'the stored credentials for "registry.example:5000"',
    ],
    [404, "pull access denied for team/app, repository does not exist", "registry_denied", "Check the name and that"],
    [404, "manifest for x not found: manifest unknown", "image_not_found", "the registry has no such image"],
    [500, "dial tcp: lookup x: no such host", "image_unavailable", "Check that the registry can be reached"],
    [500, "open /var/lib/docker/tmp/x: no space left on device", "image_unavailable", "a file of the engine"],
  ])("treats %i %s as %s", async (status, said, reason, message) => {
    const thrown = await refusedPull(CREDENTIALS, () => ({ status, text: JSON.stringify({ message: said }) }));
    expect([thrown.reason as string, thrown.message]).toEqual([reason, expect.stringContaining(message)]);
  });
});

describe("a password in the engine's messages", () => {
  // Some of them are words that messages are judged by.
  const secrets = fc.oneof(
    // None that our own message has by itself, such as "name".
    fc.string({ minLength: 4, maxLength: 30, unit: "grapheme" }).map((text) => `${text}~7`),
    fc.constantFrom("unauthorized", 'quo"te\\d', "a b&c=d/e", "manifest unknown", "p%20q"),
  );

  test("reaches neither a message nor the log, in any form", async () => {
    const property = fc.asyncProperty(secrets, async (secret) => {
      const credentials = { ...CREDENTIALS, secret };
      const basic = Buffer.from(`someone:${secret}`).toString("base64");
      const echo = ({ auth, body }: Received) =>
        `unauthorized: got <${secret}> ${JSON.stringify(secret)} ${encodeURIComponent(secret)} Basic ${basic} ${auth} ${body}`;
      const thrown = [
        await refusedPull(credentials, (got) => ({ status: 500, text: JSON.stringify({ message: echo(got) }) })),
        await refusedPull(credentials, (got) => ({ status: 200, text: JSON.stringify({ error: echo(got) }) })),
      ];
      reply = (got) => ({ status: 500, text: JSON.stringify({ message: echo(got) }) });
      thrown.push((await rejectionOf(checkCredentials(connection, credentials))) as AppError); // the test before says so
      const lines: string[] = [];
      const log = createLogger({
        level: "debug",
        format: "json",
        clock: systemClock,
        write: (line) => lines.push(line),
      });
      for (const error of thrown) {
        expect(error.reason).toBe("registry_denied");
        log.error("x", { error });
        expect(error.message).toContain("got <***>");
        for (const form of [encodeURIComponent(secret), basic]) expect(error.message).not.toContain(form);
        const cause = error.cause instanceof Error ? error.cause.message : "";
        expect(cause).not.toContain(basic);
        expect(cause).toContain("got <***>");
      }
      expect(lines.join("")).not.toContain(basic);
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

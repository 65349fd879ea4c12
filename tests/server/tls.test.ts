import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { ApiClient } from "../../lib/cli/api/api-client.ts";
import { configuredConnection } from "../../lib/cli/api/connection.ts";
import { type Config, ConfigError, readConfig, thisMachine } from "../../lib/config/config.ts";
import { runFake } from "../cli/support/fake-program.ts";
import { makeCertificate } from "../support/certificates.ts";
import { eventually } from "../support/pace.ts";
import { TestServer } from "../support/server.ts";

let directory: string;
/** The files of the server, which tests replace. */
const at = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-tls-"));
  for (const name of ["one", "two", "three"]) await makeCertificate(directory, name);
});
afterAll(() => rm(directory, { recursive: true }));

/** Puts a certificate and its key into the place of the server's, one after the other, each at once. */
async function install(name: string, to: string): Promise<void> {
  for (const ending of ["pem", "key"]) {
    await cp(at(`${name}.${ending}`), at(`${to}.${ending}.new`));
    await rename(at(`${to}.${ending}.new`), at(`${to}.${ending}`));
  }
}

async function startWith(name: string, variables: Record<string, string> = {}): Promise<TestServer> {
  await install(name, `of-${name}`);
  const files = { TLS_CERT: at(`of-${name}.pem`), TLS_KEY: at(`of-${name}.key`) };
  return TestServer.start({ API_KEY: "the-key", ...files, ...variables });
}

/** Returns the name in the certificate that a new connection gets. */
function nameAt(url: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket: TLSSocket = connect(
    { host: "127.0.0.1", port: Number(new URL(url).port), rejectUnauthorized: false },
    () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.end();
    },
  );
  socket.on("error", reject);
  return promise;
}

/** Returns the status of an answer, and its body without what is different each time. */
async function answerOf(url: string, path: string): Promise<string> {
  const answer = await fetch(`${url}${path}`, {
    headers: { authorization: "Bearer the-key" },
    redirect: "manual",
    tls: { rejectUnauthorized: false },
  });
  return `${answer.status} ${(await answer.text()).replace(/"request_id":"[^"]*"/, "")}`;
}

function get(url: string, agent: Agent): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const sent = request(url, { agent, rejectUnauthorized: false }, (answer) => {
    answer.resume();
    answer.on("end", () => resolve(answer.statusCode ?? 0));
  });
  sent.on("error", reject);
  sent.end();
  return promise;
}

describe("TLS_CERT and TLS_KEY (A5)", () => {
  test("make the server speak https, and its public listener too", async () => {
    await using server = await startWith("one", { PUBLIC_PORT: "0" });
    expect([server.url, server.publicUrl]).toEqual([
      expect.stringMatching(/^https:/),
      expect.stringMatching(/^https:/),
    ]);
    const ca = await Bun.file(at("one.pem")).text();
    for (const url of [server.url, server.publicUrl]) {
      expect((await fetch(`${url}/healthz`, { tls: { ca } })).status).toBe(200);
      expect(await fetch(url.replace("https:", "http:")).catch(() => "no answer")).toBe("no answer");
    }
  });

  test("are read again when they change; connections and calls go on, and no new one fails meanwhile", async () => {
    await using server = await startWith("one");
    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await get(`${server.url}/healthz`, kept)).toBe(200);
    let answered = 0;
    const over = new AbortController();
    const callers = Array.from({ length: 4 }, async () => {
      while (!over.signal.aborted) {
        expect(await get(`${server.url}/healthz`, new Agent({ keepAlive: false }))).toBe(200);
        answered += 1;
      }
    });
    const all = Promise.all(callers);
    for (const name of ["two", "three"]) {
      await install(name, "of-one");
      expect(await eventually(async () => (await nameAt(server.url)) === name, 15_000)).toBe(true);
      expect(await get(`${server.url}/healthz`, kept)).toBe(200);
    }
    over.abort();
    await all;
    kept.destroy();
    expect(answered).toBeGreaterThan(10);
  });

  test("stay as they were while the new ones do not belong together, which the log says", async () => {
    await using server = await startWith("one");
    await cp(at("two.pem"), at("of-one.pem"));
    const told = () => server.log.some((line) => line.includes("TLS_KEY is not the key of the certificate"));
    expect(await eventually(async () => told(), 15_000)).toBe(true);
    expect(await nameAt(server.url)).toBe("one");
    await cp(at("two.key"), at("of-one.key"));
    expect(await eventually(async () => (await nameAt(server.url)) === "two", 15_000)).toBe(true);
  });

  test("may be symbolic links, of which one is changed at once", async () => {
    await symlink(at("one.pem"), at("live.pem"));
    await symlink(at("one.key"), at("live.key"));
    await using server = await TestServer.start({ TLS_CERT: at("live.pem"), TLS_KEY: at("live.key") });
    expect(await nameAt(server.url)).toBe("one");
    for (const ending of ["pem", "key"]) {
      await symlink(at(`two.${ending}`), at(`next.${ending}`));
      await rename(at(`next.${ending}`), at(`live.${ending}`));
    }
    expect(await eventually(async () => (await nameAt(server.url)) === "two", 15_000)).toBe(true);
  });

  test.each<[what: string, variables: () => Record<string, string>, problem: string]>([
    ["only one", () => ({ TLS_CERT: at("one.pem") }), "TLS_CERT is given without TLS_KEY"],
    ["only the other", () => ({ TLS_KEY: at("one.key") }), "TLS_KEY is given without TLS_CERT"],
    ["no file", () => ({ TLS_CERT: at("none"), TLS_KEY: at("one.key") }), 'Cannot read TLS_CERT "'],
    ["no PEM", () => ({ TLS_CERT: at("text"), TLS_KEY: at("one.key") }), "TLS_CERT holds no PEM with a certificate"],
    ["no key", () => ({ TLS_CERT: at("one.pem"), TLS_KEY: at("text") }), "TLS_KEY holds no PEM with a private key"],
    ["two of two", () => ({ TLS_CERT: at("one.pem"), TLS_KEY: at("two.key") }), "TLS_KEY is not the key of"],
  ])("%s is refused at the start", async (_what, variables, problem) => {
    await writeFile(at("text"), "hello");
    const error = await TestServer.start(variables()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain(problem);
  });

  test("change no answer: neither of the first moments nor later, of paths with handlers of their own nor of routes", async () => {
    await using plain = await TestServer.start({ API_KEY: "the-key", PUBLIC_PORT: "0" });
    await using server = await startWith("one", { PUBLIC_PORT: "0" });
    for (const path of [
      "/v1/functions",
      "/r/none/of?these",
      "/r/none",
      "/",
      "/v1/none",
      "/docs/",
      "//v1",
      "/r/..\\v1",
    ]) {
      const answers = [plain.url, server.url, server.url, plain.publicUrl, server.publicUrl].map((url) =>
        answerOf(url, path),
      );
      const [expected, first, later, open, openAndSafe] = await Promise.all(answers);
      expect([path, first, later, openAndSafe]).toEqual([path, expected, expected, open]);
    }
  });

  test("do not let a second server share the port", async () => {
    await using server = await startWith("one");
    const error = await startWith("two", { PORT: new URL(server.url).port }).catch((thrown: unknown) => thrown);
    expect(String(error)).toContain("Cannot listen on 127.0.0.1:");
  });
});

describe("the command line (A5)", () => {
  const config = (variables: Record<string, string>): Config => readConfig({}, variables, thisMachine());
  const exported = (variables: Record<string, string>) =>
    new ApiClient(configuredConnection(config({ API_KEY: "the-key", ...variables })))
      .text({ method: "GET", path: "/v1/export", timeout_ms: 5_000 })
      .catch((error: unknown) => String(error));
  const healthcheck = (variables: Record<string, string>) =>
    runFake(["healthcheck"], variables).then(
      ({ code }) => code,
      () => 1,
    );

  test("calls a server by its URL, and checks its certificate", async () => {
    await using server = await startWith("one");
    const { url } = server;
    expect(await exported({ SLIPWAY_URL: url, SLIPWAY_CA: at("one.pem") })).not.toContain("Error");
    expect(await exported({ SLIPWAY_URL: url, SLIPWAY_CA: at("two.pem") })).toContain("no answer from https://");
    expect(await exported({ SLIPWAY_URL: url })).toContain("Name the file with its certificate by --ca");
    expect(await exported({ SLIPWAY_URL: url, SLIPWAY_CA: at("none") })).toContain("Cannot read SLIPWAY_CA");
    expect(await healthcheck({ SLIPWAY_URL: url, SLIPWAY_CA: at("one.pem") })).toBe(0);
    expect(await healthcheck({ SLIPWAY_URL: url })).toBe(1);
    // The same environment as the server's, as in its container.
    const { port } = new URL(url);
    const same = { PORT: port, TLS_CERT: at("of-one.pem"), TLS_KEY: at("of-one.key") };
    expect(await healthcheck(same)).toBe(0);
    expect(await exported(same)).not.toContain("Error");
  });

  test("sends a key over plain http to this machine, and to another one only when told", async () => {
    const sent: (string | null)[] = [];
    using other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (received) => {
        sent.push(received.headers.get("authorization"));
        return new Response("functions: {}\n");
      },
    });
    expect(await exported({ SLIPWAY_URL: `http://127.0.0.1:${other.port}` })).toBe("functions: {}\n");
    // This name is not known to be of this machine.
    const far = { SLIPWAY_URL: `http://localhost.:${other.port}` };
    expect(await exported(far)).toContain(
      `The API key would go to http://localhost.:${other.port} unencrypted, where everyone on the way can read it: ` +
        "use --url https://..., or --allow-http on if the network is yours",
    );
    expect(await exported({ HOST: "192.0.2.1" })).toContain("unencrypted");
    expect(sent).toEqual(["Bearer the-key"]);
    expect(await exported({ ...far, ALLOW_HTTP: "on" })).toBe("functions: {}\n");
  });

  test("does not follow a redirect with its key", async () => {
    using other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => Response.redirect("http://127.0.0.1:1/"),
    });
    expect(await exported({ SLIPWAY_URL: `http://127.0.0.1:${other.port}` })).toContain("no answer from");
  });
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { findProgram, requireProgram, runOrThrow } from "../../../.ci/packages.ts";
import { ConfigError } from "../../../lib/config/config.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { SLIPWAY } from "../../support/program.ts";
import { TestServer } from "../../support/server.ts";

/** A real engine on a TCP port of this machine that asks for a certificate (A5). */
let directory: string;
let engine: Bun.Subprocess;
let port: number;
let image: string;

beforeAll(async () => {
  const source = await acquireEngine();
  directory = await mkdtemp(join(tmpdir(), "slipway-engine-tls-"));
  const at = (name: string) => join(directory, name);
  await makeCertificate(directory, "ca");
  await makeCertificate(directory, "server", { by: "ca" });
  await makeCertificate(directory, "client", { by: "ca" });
  await makeCertificate(directory, "other");
  await makeClient("mine", { ca: "ca", cert: "client" });
  await makeClient("stranger", { ca: "ca", cert: "other" });
  await makeClient("mistrusting", { ca: "other", cert: "client" });
  port = freePort();
  await Bun.write(at("daemon.json"), JSON.stringify({ "log-level": "warn" }));
  const init = findProgram("docker-init");
  engine = Bun.spawn(
    [
      // As .ci/engine/private-engine.ts does: nothing of it outlives this process.
      [requireProgram("setsid"), requireProgram("setpriv"), "--pdeathsig", "KILL"],
      [requireProgram("unshare"), "-m", "-p", "-f", "--kill-child=KILL", "--mount-proc", "--propagation", "private"],
      init === null ? [] : [init, "--"],
      [requireProgram("dockerd"), "--config-file", at("daemon.json"), "--data-root", at("root")],
      ["--exec-root", at("exec"), "-p", at("docker.pid"), "--bridge=none", "--iptables=false", "--ip6tables=false"],
      ["-H", `unix://${at("docker.sock")}`, "-H", `tcp://127.0.0.1:${port}`],
      ["--tlsverify", "--tlscacert", at("ca.pem"), "--tlscert", at("server.pem"), "--tlskey", at("server.key")],
    ].flat(),
    { stdin: "ignore", stdout: "ignore", stderr: Bun.file(at("dockerd.log")) },
  );
  const program = requireProgram("docker");
  const there = [program, "-H", `unix://${at("docker.sock")}`];
  const isUp = () =>
    runOrThrow([...there, "version"]).then(
      () => true,
      () => false,
    );
  expect(await eventually(isUp, 30_000)).toBe(true);
  image = await fixture("static");
  await source.docker("save", "-o", at("image.tar"), image);
  await runOrThrow([...there, "load", "-i", at("image.tar")]);
});

afterAll(async () => {
  engine.kill("SIGKILL");
  await engine.exited;
  await rm(directory, { recursive: true, force: true });
});

/** Makes a directory such as DOCKER_CERT_PATH names. */
async function makeClient(name: string, { ca, cert }: { ca: string; cert: string }): Promise<void> {
  const to = join(directory, name);
  await mkdir(to);
  await cp(join(directory, `${ca}.pem`), join(to, "ca.pem"));
  await cp(join(directory, `${cert}.pem`), join(to, "cert.pem"));
  await cp(join(directory, `${cert}.key`), join(to, "key.pem"));
}

function freePort(): number {
  using probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  return probe.port;
}

const startAs = (name: string, more: Record<string, string> = {}) =>
  TestServer.start({
    DOCKER_HOST: `tcp://127.0.0.1:${port}`,
    DOCKER_TLS_VERIFY: "1",
    DOCKER_CERT_PATH: join(directory, name),
    ...more,
  });

describe("an engine that is reached by TLS (A5)", () => {
  test("starts containers and runs calls in them", async () => {
    await using server = await startAs("mine");
    const fn = await server.createFunction(image, { network: "none" });
    const answers = await Promise.all([1, 2, 3].map(async (n) => (await server.invoke(fn, { do: "echo", n })).json()));
    expect(answers).toEqual([1, 2, 3].map((n) => expect.objectContaining({ n })));
    const large = JSON.stringify({ do: "echo", text: "x".repeat(3_000_000) });
    expect(await (await server.invoke(fn, large)).text()).toHaveLength(large.length);
  });

  test.each([
    ["an engine that it does not trust", "mistrusting", {}],
    ["an engine that does not trust it", "stranger", {}],
    ["no TLS", "mine", { DOCKER_TLS_VERIFY: "" }],
  ])("gets no answer with %s, and says so", async (_what, name, more) => {
    await using server = await startAs(name, more);
    const ready = await fetch(`${server.url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ engine: { ok: false, problem: expect.any(String) } });
  });

  test("reads the files again when they have changed and belong together", async () => {
    await makeClient("renewed", { ca: "ca", cert: "other" });
    await using server = await startAs("renewed");
    const isReady = async () => (await fetch(`${server.url}/readyz`)).status === 200;
    expect(await isReady()).toBe(false);
    await cp(join(directory, "client.key"), join(directory, "renewed", "key.pem"));
    await Bun.sleep(1_500); // so that it looks at the files in between
    expect(await isReady()).toBe(false);
    await cp(join(directory, "client.pem"), join(directory, "renewed", "cert.pem"));
    expect(await eventually(isReady, 20_000)).toBe(true);
    const fn = await server.createFunction(image, { network: "none" });
    expect((await server.invoke(fn)).status).toBe(200);
    await cp(join(directory, "other.key"), join(directory, "renewed", "key.pem"));
    await Bun.sleep(1_500);
    expect(await isReady()).toBe(true);
  });

  test("slipway sweep reaches it, too", async () => {
    await using server = await startAs("mine");
    await server.stop(0);
    const child = Bun.spawn([...SLIPWAY, "sweep"], {
      env: {
        PATH: process.env["PATH"] ?? "",
        DATA_PATH: server.dataPath,
        DOCKER_HOST: `tcp://127.0.0.1:${port}`,
        DOCKER_TLS_VERIFY: "1",
        DOCKER_CERT_PATH: join(directory, "mine"),
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    expect(await child.stderr.text()).toContain("0 leftover containers removed");
    expect(await child.exited).toBe(0);
  });

  test("a key that is not that of the certificate is told at the start", async () => {
    await makeClient("mixed", { ca: "ca", cert: "client" });
    await cp(join(directory, "other.key"), join(directory, "mixed", "key.pem"));
    const error = await startAs("mixed").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain("/mixed/key.pem is not the key of the certificate in ");
  });

  test("a missing file is told at the start", async () => {
    const error = await startAs("nowhere").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain(`/nowhere/ca.pem" for DOCKER_TLS_VERIFY: `);
  });
});

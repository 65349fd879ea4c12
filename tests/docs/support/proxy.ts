import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { ensureProgram, requireProgram, runOrThrow } from "../../../.ci/packages.ts";
import { eventually } from "../../support/pace.ts";
import { freePort } from "../../support/ports/free-port.ts";
import { type ProxyName, proxyProgram } from "./proxy-programs.ts";

/** The site of the page's configurations. */
export const SITE = "functions.example.com";
/** The addresses in the page's configurations. */
const TARGET = "127.0.0.1:9998";

/** The longest silence of a proxy, in milliseconds. */
const EXCHANGE_MS = 20_000;

/** The settings that a proxy needs besides the page's configuration, to run here beside others and without root. */
interface Run {
  readonly config: (page: string, port: number, directory: string) => string;
  readonly args: (file: string) => readonly string[];
}

const RUNS: Readonly<Record<ProxyName, Run>> = {
  nginx: {
    config: (page, port, directory) => {
      const site = changed(page, "listen 443 ssl", `listen 127.0.0.1:${port} ssl`);
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((name) => `${name}_temp_path ${directory}/${name};`)
        .join("\n");
      const ours = `daemon off;\nmaster_process off;\npid ${directory}/pid;\nevents {}\n`;
      return `${ours}http {\naccess_log off;\n${temporary}\n${site}\n}\n`;
    },
    args: (file) => ["-e", "stderr", "-c", file],
  },
  haproxy: {
    config: (page, port) => `${changed(page, "bind :443", `bind 127.0.0.1:${port}`)}\n`,
    args: (file) => ["-db", "-f", file],
  },
  caddy: {
    // A certificate of its own making, as no authority would give it one.
    config: (page, port, directory) => `{
      admin off
      local_certs
      skip_install_trust
      auto_https disable_redirects
      default_bind 127.0.0.1
      https_port ${port}
      storage file_system ${directory}/caddy
    }\n${page}\n`,
    args: (file) => ["run", "--adapter", "caddyfile", "--config", file],
  },
};

/** A reverse proxy in a process of its own, with a configuration of the manual. */
export class Proxy implements AsyncDisposable {
  readonly port: number;
  readonly #child: Bun.Subprocess;
  readonly #directory: string;

  private constructor(port: number, child: Bun.Subprocess, directory: string) {
    this.port = port;
    this.#child = child;
    this.#directory = directory;
  }

  /** Starts a proxy that points at a port of this machine, and waits until it accepts connections. */
  static async start(name: ProxyName, page: string, target: number): Promise<Proxy> {
    const directory = await mkdtemp(join(tmpdir(), "slipway-proxy-"));
    const { path, environment } = await proxyProgram(name);
    const port = freePort();
    const { config, args } = RUNS[name];
    const pointed = changed(page, TARGET, `127.0.0.1:${target}`).replaceAll("/etc/ssl/", `${directory}/`);
    await makeCertificate(directory);
    await Bun.write(`${directory}/config`, config(pointed, port, directory));
    const child = Bun.spawn([requireProgram("setpriv"), "--pdeathsig", "KILL", path, ...args(`${directory}/config`)], {
      env: { PATH: process.env["PATH"] ?? "", HOME: directory, ...environment },
      stdio: ["ignore", "ignore", Bun.file(`${directory}/log`)],
    });
    const proxy = new Proxy(port, child, directory);
    const answers = () => proxy.exchange(`GET / HTTP/1.1\r\nHost: ${SITE}\r\nConnection: close\r\n\r\n`);
    const up = await eventually(async () => child.exitCode !== null || (await answers()).startsWith("HTTP/1.1 "));
    if (up && child.exitCode === null) return proxy;
    const log = await Bun.file(`${directory}/log`).text();
    await proxy[Symbol.asyncDispose]();
    throw new Error(`${name} does not run: ${log}`);
  }

  /**
   * Sends bytes through TLS and returns all that comes until the proxy closes the connection, or `last` has come; "" if it
   * refuses it.
   */
  exchange(bytes: string, last?: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const chunks: Buffer[] = [];
    const socket: TLSSocket = connect({
      host: "127.0.0.1",
      port: this.port,
      servername: SITE,
      rejectUnauthorized: false,
    });
    socket.on("secureConnect", () => socket.write(Buffer.from(bytes, "utf8")));
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (last !== undefined && Buffer.concat(chunks).includes(last)) socket.destroy();
    });
    const end = () => resolve(Buffer.concat(chunks).toString());
    socket.on("error", end);
    socket.on("close", end);
    socket.setTimeout(EXCHANGE_MS, () => socket.destroy());
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Replaces what the page must have. */
function changed(page: string, from: string, to: string): string {
  if (!page.includes(from)) throw new Error(`The configuration has no "${from}":\n${page}`);
  return page.replaceAll(from, to);
}

/** Makes a certificate for the site: certificate and key in the file with the name of both, the key also by itself. */
async function makeCertificate(directory: string): Promise<void> {
  await ensureProgram("openssl", ["openssl"]);
  const [key, certificate] = [`${directory}/${SITE}.key`, `${directory}/${SITE}.pem`];
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" ");
  await runOrThrow(["openssl", ...request, "-subj", `/CN=${SITE}`, "-keyout", key, "-out", certificate]);
  await Bun.write(certificate, (await Bun.file(certificate).text()) + (await Bun.file(key).text()));
}

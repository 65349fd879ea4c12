import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SOURCE = `Bun.serve({ port: Number(process.env.PORT), hostname: "127.0.0.1", reusePort: false, fetch: () => new Response("ok") });`;

/** A minimal compiled Bun server, the yardstick for ours. */
export class BareServer implements AsyncDisposable {
  readonly #directory: string;
  readonly #child: Bun.Subprocess;
  readonly binary: string;
  readonly url: string;

  private constructor(directory: string, binary: string, port: number) {
    this.#directory = directory;
    this.binary = binary;
    this.url = `http://127.0.0.1:${port}/`;
    this.#child = Bun.spawn([binary], { env: { PORT: String(port) }, stdio: ["ignore", "ignore", "inherit"] });
  }

  static async start(): Promise<BareServer> {
    const directory = await mkdtemp(join(tmpdir(), "slipway-bare-"));
    const source = join(directory, "bare.ts");
    const binary = join(directory, "bare");
    await Bun.write(source, SOURCE);
    const built = await Bun.build({
      entrypoints: [source],
      compile: { outfile: binary, autoloadDotenv: false, autoloadBunfig: false },
      minify: true,
      bytecode: true,
      format: "esm",
    });
    if (!built.success) throw new Error("Cannot compile the bare server");
    const server = new BareServer(directory, binary, freePort());
    await answered(server.url);
    return server;
  }

  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Returns a free port. */
export function freePort(): number {
  const probe = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const { port } = probe;
  void probe.stop(true);
  if (port === undefined) throw new Error("No port is free");
  return port;
}

/** Waits until the server answers. */
export async function answered(url: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      await (await fetch(url)).text();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await Bun.sleep(1);
    }
  }
}

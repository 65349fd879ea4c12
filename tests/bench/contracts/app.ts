import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { buildDirectory, hasImage, withDirectory } from "../../../.ci/engine/image-tree.ts";
import { ensureProgram, requireProgram, runOrThrow } from "../../../.ci/packages.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { answered, freePort } from "../bare-server.ts";
import { EXPRESS_APP } from "./express-app.ts";

/** The version of Express. */
const EXPRESS = "5.1.0";
const PORT = 8080;
/** Enough for the slowest stream on a busy machine. */
const TIMEOUT_MS = 300_000;
/** The limits of functions, for a container that is called without a server of ours. */
const LIMITS = [
  "--memory=256m",
  "--memory-swap=256m",
  "--cpus=1",
  "--pids-limit=128",
  "--security-opt=no-new-privileges",
];

/** A program that is an HTTP server. */
export interface App {
  readonly image: string;
  readonly command: readonly string[];
}

/** Returns the server of `express-app.ts`, as an image with Node and the packages that it needs. */
export async function expressApp(docker: string): Promise<App> {
  const client = new EngineClient(docker);
  const base = await baseImage(client, "node");
  const tag = Bun.hash(`${base} ${EXPRESS} ${EXPRESS_APP}`).toString(16);
  const image = `slipway-test/express:${tag}`;
  if (!(await hasImage(client, image))) {
    await withDirectory(async (directory) => {
      await installExpressApp(directory);
      await Bun.write(join(directory, "Dockerfile"), `FROM ${base}\nCOPY . /app\nWORKDIR /app\n`);
      await buildDirectory(client, directory, image);
    });
  }
  return { image, command: ["node", "/app/app.js"] };
}

/** Puts the server of `express-app.ts` into a directory, with the packages that it needs. */
async function installExpressApp(directory: string): Promise<void> {
  await Bun.write(join(directory, "app.js"), EXPRESS_APP);
  await Bun.write(join(directory, "package.json"), JSON.stringify({ dependencies: { express: EXPRESS } }));
  await runOrThrow([process.execPath, "install", "--cwd", directory, "--ignore-scripts"]);
}

/** The same server as a process of the host. There is one at a time. */
interface OnHost extends AsyncDisposable {
  /** Starts it, and waits until it listens. */
  start(): Promise<void>;
  /** Sends it a request as a call would, and reads the answer. */
  request(): Promise<void>;
  /** Starts it, and waits for its first answer. */
  boot(): Promise<void>;
  end(): Promise<void>;
}

/** Installs the server of `express-app.ts` on the host. */
export async function expressOnHost(): Promise<OnHost> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-"));
  await installExpressApp(directory);
  const node = await ensureProgram("node", ["nodejs"]);
  let running: Bun.Subprocess | undefined;
  let port = 0;
  const spawn = () => {
    port = freePort();
    const env = { PORT: String(port) };
    running = Bun.spawn([node, join(directory, "app.js")], { env, stdio: ["ignore", "ignore", "inherit"] });
  };
  const end = async () => {
    running?.kill("SIGKILL");
    await running?.exited;
  };
  const url = () => `http://127.0.0.1:${port}/`;
  return {
    start: async () => {
      spawn();
      await listens(port);
    },
    request: async () => void (await (await fetch(url(), { method: "POST", body: '{"do": "exit"}' })).text()),
    boot: async () => {
      spawn();
      await answered(url());
    },
    end,
    [Symbol.asyncDispose]: async () => {
      await end();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Waits until a port is listened at, as the kernel says: a connection would be the first, which is to be measured. */
async function listens(port: number): Promise<void> {
  const socket = `:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`;
  while (!(await Bun.file("/proc/net/tcp").text()).includes(socket)) await Bun.sleep(1);
}

/** Returns the smallest server in Bun, the fastest that JavaScript has. */
export async function bareApp(docker: string): Promise<App> {
  const script = `Bun.serve({ port: ${PORT}, hostname: "0.0.0.0", fetch: () => new Response("hello") });`;
  return { image: await baseImage(new EngineClient(docker), "bun"), command: ["bun", "-e", script] };
}

/** An app at an address of its own. */
export interface Running extends AsyncDisposable {
  readonly url: string;
}

/** Runs an app in a container with the limits of a function on the engine's bridge, to be called by the container's address. */
export async function runDirectly(docker: string, { image, command }: App): Promise<Running> {
  const program = [requireProgram("docker"), "-H", docker];
  const id = (
    await runOrThrow([...program, "run", "-d", "--rm", `-e=PORT=${PORT}`, ...LIMITS, image, ...command])
  ).trim();
  const template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
  const address = (await runOrThrow([...program, "inspect", "--format", template, id])).trim();
  const url = `http://${address}:${PORT}`;
  await answered(url);
  return { url, [Symbol.asyncDispose]: async () => void (await runOrThrow([...program, "rm", "-f", id])) };
}

/** Returns the settings of a function that is this app. */
export function asFunction({ command }: App): { contract: "http"; port: number; command: string[] } {
  return { contract: "http", port: PORT, command: [...command] };
}

/** Registers an app whose instance serves all calls, and returns the address of its route for all paths. */
export async function runAsFunction(server: SpawnedServer, app: App): Promise<string> {
  const settings = { ...asFunction(app), max_calls: 0, concurrency: 64, warm_max: 1, timeout_ms: TIMEOUT_MS };
  const fn = await server.createFunction(app.image, settings);
  const body = JSON.stringify({ path: "/app/*", function_id: fn.id, methods: ["GET", "POST"] });
  const response = await fetch(`${server.url}/v1/routes`, { method: "POST", body });
  if (!response.ok) throw new Error(`POST /v1/routes: ${response.status} ${await response.text()}`);
  const url = `${server.url}/r/app`;
  await answered(`${url}/`);
  return url;
}

// `bun run start`: from a fresh clone to a call of a function in a real container, and a server that keeps running.
import { acquireEngine, type Engine } from "./engine/engine.ts";
import { SetupError } from "./packages.ts";
import { buildSample } from "./engine/samples.ts";
import { Api } from "./api.ts";
import { startServer } from "./server-process.ts";
import { untilSignal } from "./signals.ts";
import { buildGate } from "./build-gate.ts";
import { installPackages, main, say } from "./steps.ts";

const PORT = process.env["PORT"] ?? "9999";
const NAME = "hello-world";

await main(async () => {
  const stopped = untilSignal();
  checkPort();
  // Released in reverse order, however this ends: the server first, then its engine.
  await using held = new AsyncDisposableStack();
  const server = await Promise.race([setUp(held), stopped]);
  if (server === undefined) return 130;
  const code = await Promise.race([server.exited, stopped]);
  if (code !== undefined) throw new SetupError(`The server exited unexpectedly with code ${code}.`);
  say("Stopping");
  return 0;
});

/** Sets everything up, to the first answer of a function; returns a promise of the server's exit code. */
async function setUp(held: AsyncDisposableStack): Promise<{ exited: Promise<number> }> {
  say("Packages and gate");
  await installPackages();
  await buildGate();
  const engine = held.use(await acquireEngine());
  say(`Engine: ${engine.isPrivate ? "a private one, which ends with this command" : "the one that is running"}`);
  console.log(engine.host);
  const image = await sampleImage(engine);

  say("Server");
  const server = held.use(await startServer({ DOCKER_HOST: engine.host, PORT }));
  console.log(`${server.url}, data directory ${server.dataPath}`);
  await callSample(new Api(server.url), server.url, image);

  say("Slipway is up. Try next, in another terminal:");
  console.log(`curl ${server.url}/r/${NAME} -d '{"message": "it works"}'   # a call`);
  console.log(`curl ${server.url}/v1/functions/${NAME}   # all settings of the function`);
  console.log(`Open ${server.url}/docs for the manual, ${server.url}/swagger for the API. Ctrl-C stops the server.`);
  return server;
}

/** Fails before anything is installed if the port is taken, the most likely reason why this cannot work. */
function checkPort(): void {
  try {
    Bun.listen({ hostname: "127.0.0.1", port: Number(PORT), socket: { data: () => undefined } }).stop();
  } catch {
    throw new SetupError(
      `Port ${PORT} is taken. Stop the program that listens there, or choose another port: PORT=9998 bun run start`,
    );
  }
}

async function sampleImage({ client }: Engine): Promise<string> {
  say(`Sample image: docker build -t slipway/${NAME} functions/${NAME}`);
  const { reference, standInBecause } = await buildSample(client, NAME);
  if (standInBecause !== undefined) {
    console.log(`${standInBecause}\nIt is built on a stand-in instead, made of this machine's Bun and C library.`);
  }
  console.log(reference);
  return reference;
}

/** Registers the function and its route. A second start finds them, and moves the function to the image as it is now. */
async function callSample(api: Api, url: string, image: string): Promise<void> {
  say("A function, a route to it, and a call");
  const functions = await api.list("/v1/functions");
  const known = functions.some((one) => one["name"] === NAME);
  const [method, path] = known ? ["PATCH", `/v1/functions/${NAME}`] : ["POST", "/v1/functions"];
  await api.show(method, path, known ? { image } : { name: NAME, image }, (fn) => ({
    function: fn["name"],
    image: fn["image"],
    version: fn["version"],
  }));
  const route = (await api.list("/v1/routes")).find((one) => one["path"] === `/${NAME}`);
  if (route === undefined) {
    await api.show("POST", "/v1/routes", { path: `/${NAME}`, function_id: NAME }, (made) => ({
      route: made["path"],
      url: `${url}/r/${NAME}`,
    }));
  }
  await api.call(`/r/${NAME}`, { message: NAME });
}

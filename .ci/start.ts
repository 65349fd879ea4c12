// `bun run start`: from a fresh clone to a call of a function in a real container, and a server that stays up.
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
  // Released in reverse order however this ends: the server first, then its engine.
  await using held = new AsyncDisposableStack();
  const server = await Promise.race([setUp(held), stopped]);
  if (server === undefined) return 130;
  const code = await Promise.race([server.exited, stopped]);
  if (code !== undefined) throw new SetupError(`The server ended by itself, with exit code ${code}.`);
  say("Stopping");
  return 0;
});

/** Everything up to the first answer; returns a promise of the server's exit code. */
async function setUp(held: AsyncDisposableStack): Promise<{ exited: Promise<number> }> {
  say("Packages and gate");
  await installPackages();
  await buildGate();
  const engine = held.use(await acquireEngine());
  say(`Engine: ${engine.isPrivate ? "a private one, which ends with this command" : "the one that runs already"}`);
  console.log(engine.host);
  const image = await sampleImage(engine);

  say("Server");
  const server = held.use(await startServer({ DOCKER_HOST: engine.host, PORT }));
  console.log(`${server.url}, its data are in ${server.dataPath}`);
  await callSample(new Api(server.url), image);

  say("Slipway is up. In another terminal, try:");
  console.log(`curl ${server.url}/r/${NAME} -d '{"message": "it works"}'`);
  console.log(`open ${server.url}/swagger for all the rest; Ctrl-C ends it.`);
  return server;
}

/** Said before anything is installed: a taken port is the most likely reason why this cannot work. */
function checkPort(): void {
  try {
    Bun.listen({ hostname: "127.0.0.1", port: Number(PORT), socket: { data: () => undefined } }).stop();
  } catch {
    throw new SetupError(`Port ${PORT} is taken. Stop what listens there, or choose another: PORT=9998 bun run start`);
  }
}

async function sampleImage({ client }: Engine): Promise<string> {
  say(`Sample image: docker build -t slipway/${NAME} functions/${NAME}`);
  const { reference, standInBecause } = await buildSample(client, NAME);
  if (standInBecause !== undefined) {
    console.log(`${standInBecause}\nIt is built on a stand-in instead: this machine's own Bun and C library.`);
  }
  console.log(reference);
  return reference;
}

/** Function and route are made once; a second start finds them, and moves the function to the image as it is now. */
async function callSample(api: Api, image: string): Promise<void> {
  say("A function, a route to it, and a call");
  const functions = await api.list("/v1/functions");
  const known = functions.find((one) => one["name"] === NAME);
  const fn =
    known === undefined
      ? await api.show("POST", "/v1/functions", { name: NAME, image })
      : await api.show("PATCH", `/v1/functions/${NAME}`, { image });
  const routes = await api.list("/v1/routes");
  if (routes.some((route) => route["path"] === `/${NAME}`)) await api.show("GET", "/v1/routes");
  else await api.show("POST", "/v1/routes", { path: `/${NAME}`, function_id: fn["id"] });
  await api.show("POST", `/r/${NAME}`, { message: NAME });
}

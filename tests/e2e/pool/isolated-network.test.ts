import { afterAll, beforeAll, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { containersOf, type Named } from "./pools.ts";

// EDGE C6

/**
 * A function that listens on port 8080 and stays (`"listen"`), says the address of a name (`"resolve NAME"`), or says what it
 * gets at an address (`"connect ADDRESS PORT"`).
 */
const NEIGHBOUR = `
set -- $(tr -d '"' < "$CONTEXT_PATH/request.json")
case $1 in
  listen)
    mkdir /tmp/www && echo reached > /tmp/www/index.html
    exec httpd -f -p 8080 -h /tmp/www ;;
  resolve) said=$(nslookup "$2" | awk '/^Name:/ { named = 1 } named && /^Address:/ { print $2; exit }') ;;
  connect) said=$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 "$2" "$3" 2> /dev/null | grep -o reached) ;;
esac
printf '"%s"' "$said" > "$CONTEXT_PATH/response.json"
`;

/** A line of /proc/net/tcp or tcp6: port 8080 in hexadecimal, and the state LISTEN. */
const LISTENING = /:1F90 [0-9A-F]+:0000 0A/;

let engine: Engine;
let server: TestServer;
/** The name of the server's isolated network. */
let name: string;
/** A server on the engine's machine, which the gateway of any bridge reaches. */
let host: Bun.Server<undefined>;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start();
  name = ownName();
  host = Bun.serve({ port: 0, hostname: "0.0.0.0", fetch: () => new Response("reached") });
});

afterAll(async () => {
  await host.stop(true);
  await server[Symbol.asyncDispose]();
  expect(await networks()).toEqual([]);
});

function ownName(): string {
  using database = new Database(join(server.dataPath, "database.db"), { readonly: true });
  const row = database.query<{ value: string }, []>("select value from settings where key = 'owner_id'").get();
  return `slipway-isolated-${row?.value}`;
}

/** The names of the networks of this server; none is left after it has stopped. */
async function networks(): Promise<string[]> {
  const listed = await engine.docker("network", "ls", "--format", "{{.Name}}", "--filter", `name=${name}`);
  return listed.split("\n").filter((line) => line !== "");
}

/** Removes the network by hand, once the last container has left it. */
async function removeNetwork(): Promise<void> {
  const isRemoved = async () => (await engine.docker("network", "rm", name).catch(() => "")) !== "";
  expect(await eventually(isRemoved, 10_000)).toBe(true);
}

async function neighbour(network: string, more: object = {}): Promise<Named> {
  const entrypoint = ["sh", "-c", NEIGHBOUR];
  return server.createFunction(await fixture("chaos"), { entrypoint, network, ...more });
}

interface Listener extends AsyncDisposable {
  readonly address: string;
  readonly gateway: string;
  /** The name of its container, or of the one that holds its network. */
  readonly container: string;
}

/** Calls a function that listens until this is disposed of. */
async function listenTo(fn: Named): Promise<Listener> {
  const caller = new AbortController();
  const call = server.invoke(fn, '"listen"', { signal: caller.signal }).catch(() => undefined);
  const listens = async () => {
    // Not by `docker top`: it needs a `ps` on the engine's machine.
    const look = ["sh", "-c", "cat /proc/net/tcp*"];
    const shown = (await containersOf(fn)).map((id) => engine.docker("exec", id, ...look).catch(() => ""));
    return (await Promise.all(shown)).some((sockets) => LISTENING.test(sockets));
  };
  if (!(await eventually(listens, 20_000))) throw new Error("The function does not listen");
  const format = "{{.Name}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.Gateway}}{{end}}";
  const lines = await engine.docker("inspect", "--format", format, ...(await containersOf(fn)));
  const inNetwork = lines.split("\n").map((line) => line.split(" "));
  const [path = "", address = "", gateway = ""] = inNetwork.find(([, ip = ""]) => ip !== "") ?? [];
  expect([address, gateway]).toEqual([expect.stringMatching(/^[\d.]+$/), expect.stringMatching(/^[\d.]+$/)]);
  return {
    address,
    gateway,
    container: path.slice(1),
    async [Symbol.asyncDispose]() {
      caller.abort();
      await call;
    },
  };
}

async function say(fn: Named, request: string): Promise<unknown> {
  const response = await server.invoke(fn, JSON.stringify(request));
  const said: unknown = await response.json();
  expect([response.status, said]).toEqual([200, expect.any(String)]);
  return said;
}

async function reaches(fn: Named, address: string, port = 8080): Promise<boolean> {
  return (await say(fn, `connect ${address} ${port}`)) === "reached";
}

// The rows of `bridge` show that the others can fail.
test.each([
  ["bridge", {}, true],
  ["isolated", {}, false],
  ["isolated", { sandbox: "docker" }, false],
  ["isolated", { share_network: true }, false],
] as const)("functions on the network %s (%j) connect to each other: %p", async (network, settings, reached) => {
  const [one, other] = await Promise.all([neighbour(network, settings), neighbour(network, settings)]);
  await using listener = await listenTo(one);
  const { address, gateway, container } = listener;
  const seen = await Promise.all([
    reaches(other, address),
    reaches(one, address),
    reaches(other, gateway, host.port),
    say(other, `resolve ${container}`),
  ]);
  // Instances of one function that share a network namespace share what listens in it. The engine's DNS knows names.
  const shared = "share_network" in settings;
  expect(seen).toEqual([reached, reached || shared, true, network === "isolated" ? address : ""]);
  if (network === "isolated") expect(await networks()).toEqual([name]);
});

test("many first calls at once make one network, and one that is removed by hand, is made again", async () => {
  const functions = [await neighbour("isolated"), await neighbour("isolated"), await neighbour("isolated")];
  const call = async () => Promise.all(functions.map((fn) => reaches(fn, "127.0.0.1")));
  const idOf = async () => (await engine.docker("network", "inspect", "--format", "{{.Id}}", name)).trim();
  if ((await networks()).length > 0) await removeNetwork();
  expect(await call()).toEqual([false, false, false]);
  expect(await networks()).toEqual([name]);
  const first = await idOf();
  await removeNetwork();
  expect(await call()).toEqual([false, false, false]);
  expect(await networks()).toEqual([name]);
  expect(await idOf()).not.toBe(first);
  // Its bridge alone, as after a clumsy clean-up of interfaces.
  const bridge = `slipway-${name.slice("slipway-isolated-".length).slice(0, 7)}`;
  const host = ["--cap-add", "NET_ADMIN", "--network", "host", "--entrypoint", "sh"];
  const unlink = `ip link set ${bridge} down && brctl delbr ${bridge}`;
  await engine.docker("run", "--rm", ...host, await fixture("chaos"), "-c", unlink);
  expect(await call()).toEqual([false, false, false]);
});

test("a network of its name that lets functions reach each other is refused, and gone is repaired", async () => {
  const fn = await neighbour("isolated");
  expect(await reaches(fn, "127.0.0.1")).toBe(false);
  await removeNetwork();
  await engine.docker("network", "create", "--label", `slipway.owner=${name.slice("slipway-isolated-".length)}`, name);
  const refused = await server.invoke(fn, '"connect 127.0.0.1 1"');
  const problem: unknown = await refused.json();
  expect([refused.status, problem]).toEqual([
    503,
    expect.objectContaining({
      reason: "engine_unavailable",
      message: expect.stringMatching(
        /enable_icc is not "false"\). Remove it with `docker network rm .*The engine said: \{"Driver":"bridge"/,
      ),
    }),
  ]);
  await engine.docker("network", "rm", name);
  expect(await reaches(fn, "127.0.0.1")).toBe(false);
});

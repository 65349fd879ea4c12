import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, containersOf, full } from "../pool/pools.ts";
import { register } from "./pooled-app.ts";

let engine: Engine;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start({ WARM_MAX: "3" });
});

afterAll(() => server[Symbol.asyncDispose]());

/** Connects to an address from a neighbour on a network, which has nothing else to do. */
const NEIGHBOUR = `
address=$(tr -d '"' < "$CONTEXT_PATH/request.json")
# An instance that is frozen has a connection and says nothing: nc is ended then.
timeout 3 nc -w 2 "$address" 8080 < /dev/null > /dev/null 2>&1
[ $? = 1 ] && said=refused || said=reached
printf '"%s"' "$said" > "$CONTEXT_PATH/response.json"
`;

// The row of `bridge` shows that the other can fail.
test.each([
  [undefined, "isolated", "refused"],
  ["bridge", "bridge", "reached"],
])(
  "a neighbour on the same network connects to an instance that waits for its call (network %p, so %s): %s",
  async (network, actual, expected) => {
    // One that is undefined is left out of the request, so that the server chooses.
    await using fn = await register(server, { network });
    expect(fn.network).toBe(actual);
    await full(server, fn, 1);
    const [id = ""] = await containersOf(fn);
    const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    const address = (await engine.docker("inspect", "--format", format, id)).trim();
    const entrypoint = ["sh", "-c", NEIGHBOUR];
    const neighbour = await server.createFunction(await fixture("chaos"), { entrypoint, network: actual });
    const response = await server.invoke(neighbour, JSON.stringify(address));
    expect([response.status, await response.json()]).toEqual([200, expected]);
    await server.api("DELETE", `/v1/functions/${neighbour.id}`);
    await containersBecome(0, neighbour);
  },
);

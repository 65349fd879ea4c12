import { tmpdir } from "node:os";
import { ensureProgram } from "../../.ci/packages.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareRates, type Measurement } from "./compare.ts";
import { BareServer } from "./bare-server.ts";

const SECONDS = 3;
const CLIENTS = 32;

/** Compares the management API under load with a bare Bun HTTP server. */
export async function http({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  const wrk = await ensureProgram("wrk", ["wrk"]);
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  await using bare = await BareServer.start();
  const fn = await server.createFunction(image, { warm_max: 0 });
  const path = `/v1/functions/${fn.id}`;
  const get = (name: string, url: string) => ({ name, measure: () => load(wrk, url) });
  const write = {
    name: "PATCH of a function",
    // Each is on disk before the answer.
    measure: () => load(wrk, server.url + path, { method: "PATCH", body: '{"timeout_ms": 30000}' }),
  };
  return [
    await compareRates("get", rounds, [get("GET of a function", server.url + path), get("Bun.serve", bare.url)]),
    await compareRates("write", rounds, [write, get("Bun.serve", bare.url)]),
  ];
}

/** The requests that wrk sends, and for how long. */
interface Load {
  readonly method?: string;
  readonly body?: string;
  readonly seconds?: number;
}

/** Returns the requests per second that an address answers; an error status throws. */
export async function load(
  wrk: string,
  url: string,
  { method = "GET", body = "", seconds = SECONDS }: Load = {},
): Promise<number> {
  const script = `${tmpdir()}/slipway-bench-${process.pid}.lua`;
  await Bun.write(script, `wrk.method = "${method}"\nwrk.body = '${body}'\n`);
  const child = Bun.spawn([wrk, "-t1", `-c${CLIENTS}`, `-d${seconds}s`, "-s", script, url], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  await Bun.file(script).delete();
  if (/Non-2xx/.test(text)) throw new Error(`${method} ${url} was refused under load:\n${text}`);
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
  if (rate === undefined) throw new Error(`wrk printed no rate:\n${text}`);
  return Number(rate);
}

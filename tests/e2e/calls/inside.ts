import { expect } from "bun:test";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import type { TestServer } from "../../support/server.ts";
import { containersBecome, containersOf, type Named, pool } from "../pool/pools.ts";

/** The answer of the `chaos` image to `env`. */
export interface Inside {
  readonly uid: number;
  readonly gid: number;
  readonly cwd: string;
  readonly status: Readonly<Record<string, string>>;
  readonly mounts: readonly string[];
  readonly interfaces: readonly string[];
}

/** Returns a function's view from inside its container. */
export async function inside(server: TestServer, fn: Named): Promise<Inside> {
  const response = await server.invoke(fn, { do: "env" });
  const text = await response.text();
  expect([response.status, text.slice(0, 1)]).toEqual([200, "{"]);
  return JSON.parse(text) as Inside; // the fixture's answer
}

/** Returns the line of `/proc/mounts` for a path. */
export function mountAt(seen: Inside, path: string): string {
  return seen.mounts.find((line) => line.split(" ")[1] === path) ?? "";
}

/** Inspects the container of a running call with the engine's own client. */
export async function inspected(server: TestServer, fn: Named, format: string): Promise<string> {
  const engine = await acquireEngine();
  const caller = new AbortController();
  const call = server.invoke(fn, { do: "sleep" }, { signal: caller.signal }).catch(() => undefined);
  await pool(server, fn, ({ busy }) => busy === 1);
  // That of an earlier call may be going still.
  await containersBecome(1, fn);
  const said = await engine.docker("inspect", "--format", format, ...(await containersOf(fn)));
  caller.abort();
  await call;
  return said.trim();
}

/** Removes a function, the image that was made for it, and that image's parents. */
export async function forget(server: TestServer, fn: Named, image: string): Promise<void> {
  await server.api("DELETE", `/v1/functions/${fn.id}`);
  await containersBecome(0, fn);
  await (await acquireEngine()).docker("rmi", image);
}

import { expect } from "bun:test";
import type { Function, PoolState } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

/** The part of a function that names it. */
export type Named = Pick<Function, "id">;

/** Starts a server that keeps instances ready; each test has one of its own, whose end removes them. */
export function warmServer(variables: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return TestServer.start({ WARM_MAX: "100", ...variables });
}

/** Waits until a function's pool is as wanted, and returns its state. */
export async function pool(
  server: { readonly url: string },
  fn: Named,
  wanted: (state: PoolState) => boolean,
): Promise<PoolState> {
  const look = async () => {
    const response = await fetch(`${server.url}/v1/functions/${fn.id}`);
    const body = (await response.json()) as { data: { pool: PoolState } }; // what the API promises
    return body.data.pool;
  };
  let state = await look();
  const isWanted = async () => wanted((state = await look()));
  if (!(await eventually(isWanted, 20_000))) throw new Error(`The pool is still ${JSON.stringify(state)}`);
  return state;
}

/** Returns whether an instance is ready and no other is starting. */
export const isWarm = ({ ready, starting }: PoolState) => ready > 0 && starting === 0;

/** Waits until exactly this many instances of a function are ready and no other is starting. */
export function full(server: { readonly url: string }, fn: Named, count: number): Promise<PoolState> {
  return pool(server, fn, ({ ready, starting }) => ready === count && starting === 0);
}

/** Reads `Server-Timing`: milliseconds in the queue and for the instance, and whether that was cold or warm. */
export function timingOf(response: Response): { queue: number; start: number; how: string | undefined } {
  const text = response.headers.get("server-timing") ?? "";
  const [, queue, start, how] = /^queue;dur=([\d.]+), start;dur=([\d.]+);desc=(\w+)/.exec(text) ?? [];
  return { queue: Number(queue), start: Number(start), how };
}

/** Returns whether the call's instance was cold or warm. */
export function startOf(response: Response): string | undefined {
  return timingOf(response).how;
}

/** The answer of the `chaos` image to `env`. */
export interface Seen {
  readonly environment: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly mounts: readonly string[];
  readonly context: readonly string[];
  readonly root: readonly string[];
}

export async function seenBy(response: Response): Promise<Seen> {
  expect(response.status).toBe(200);
  return (await response.json()) as Seen; // the fixture's answer
}

export async function environmentOf(response: Response): Promise<Readonly<Record<string, string>>> {
  return (await seenBy(response)).environment;
}

/** Returns the ids of the functions' containers, running or not, the holders of their networks included. */
export async function containersOf(...functions: readonly Named[]): Promise<string[]> {
  const engine = await acquireEngine();
  const listed = functions.map(({ id }) =>
    engine.docker("ps", "-aq", "--no-trunc", "--filter", `label=slipway.function=${id}`),
  );
  return (await Promise.all(listed)).flatMap((ids) => ids.split("\n").filter(Boolean));
}

/** Waits until these functions have this many containers. */
export async function containersBecome(count: number, ...functions: readonly Named[]): Promise<void> {
  await eventually(async () => (await containersOf(...functions)).length === count);
  expect(await containersOf(...functions)).toHaveLength(count);
}

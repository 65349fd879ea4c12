import { expect } from "bun:test";
import type { Function, PoolState } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { TestServer } from "../../support/server.ts";

/** What a test needs to name a function. */
export type Named = Pick<Function, "id">;

/** A server that keeps instances ready; one for each test, which takes them along at its end. */
export function warmServer(variables: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return TestServer.start({ WARM_MAX: "100", ...variables });
}

/** Waits until a function's pool is as wanted. */
export async function pool(
  server: { readonly url: string },
  fn: Named,
  wanted: (state: PoolState) => boolean,
): Promise<PoolState> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const response = await fetch(`${server.url}/v1/functions/${fn.id}`);
    const body = (await response.json()) as { data: { pool: PoolState } }; // what the API promises
    const state = body.data.pool;
    if (wanted(state)) return state;
    if (performance.now() > deadline) throw new Error(`The pool is ${JSON.stringify(state)} after 20 s`);
    await Bun.sleep(20);
  }
}

/** Something is ready, and nothing more is coming. */
export const isWarm = ({ ready, starting }: PoolState) => ready > 0 && starting === 0;

/** Waits until exactly so many instances of a function are ready and no other is started. */
export function full(server: { readonly url: string }, fn: Named, count: number): Promise<PoolState> {
  return pool(server, fn, ({ ready, starting }) => ready === count && starting === 0);
}

/** What `Server-Timing` says of a call: milliseconds in the queue and for the instance, and how that was had. */
export function timingOf(response: Response): { queue: number; start: number; how: string | undefined } {
  const text = response.headers.get("server-timing") ?? "";
  const [, queue, start, how] = /^queue;dur=([\d.]+), start;dur=([\d.]+);desc=(\w+)/.exec(text) ?? [];
  return { queue: Number(queue), start: Number(start), how };
}

/** How the caller's instance was had: cold or warm. */
export function startOf(response: Response): string | undefined {
  return timingOf(response).how;
}

/** What the `chaos` image reports of itself when it is asked for `env`. */
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

/** The ids of a function's containers, running or not; its network's holder is one of them. */
export async function containersOf(...functions: readonly Named[]): Promise<string[]> {
  const engine = await acquireEngine();
  const listed = functions.map(({ id }) =>
    engine.docker("ps", "-aq", "--no-trunc", "--filter", `label=slipway.function=${id}`),
  );
  return (await Promise.all(listed)).flatMap((ids) => ids.split("\n").filter(Boolean));
}

/** Waits until so many containers of these functions are there, at most 5 s. */
export async function containersBecome(count: number, ...functions: readonly Named[]): Promise<void> {
  const deadline = performance.now() + 5_000;
  while ((await containersOf(...functions)).length !== count && performance.now() < deadline) await Bun.sleep(50);
  expect(await containersOf(...functions)).toHaveLength(count);
}

import { useMemo } from "preact/hooks";
import { type ApiError, send } from "./api.ts";
import { readMetrics } from "./metrics.ts";
import { useLoaded, useText } from "./use-data.ts";

/** A part of the server: `ok`, or its problem and how to fix it. */
export interface Check {
  readonly ok: boolean;
  readonly problem: string | null;
}

/** The answer of `GET /readyz`. */
export interface Readiness {
  readonly ready: boolean;
  readonly engine: Check;
  readonly database: Check;
}

/** The present health of the server, in its own words. */
export interface Health {
  readonly readiness: Readiness | undefined;
  readonly metrics: ReadonlyMap<string, number> | undefined;
  readonly error: ApiError | undefined;
}

/** Asks for the server's health and metrics again and again. */
export function useHealth(every_ms: number): Health {
  const ready = useLoaded("/readyz", askReady, every_ms);
  const text = useText("/metrics", every_ms);
  const metrics = useMemo(() => (text.data === undefined ? undefined : readMetrics(text.data)), [text.data]);
  const readiness = ready.data;
  return { readiness, metrics, error: ready.error ?? text.error };
}

/** A server that is not ready says why, with 503. */
async function askReady(signal: AbortSignal): Promise<Readiness> {
  const response = await send("/readyz", { signal });
  return (await response.json()) as Readiness; // the server's own words
}

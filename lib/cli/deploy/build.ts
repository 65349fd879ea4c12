import type { Build } from "../../domain/builds/builds.ts";
import type { ApiClient } from "../api/api-client.ts";
import { BrokenStream, serverEvents } from "../api/server-events.ts";

/** The output of a deployment. */
export interface DeployOutput {
  /** Tells the person a line that is not the result. */
  note(text: string): void;
  /** Passes on what a build prints, in pieces of any size. */
  progress(text: string): void;
}

/** The wait before a stream that was cut is asked for again, in milliseconds. */
const RECONNECT_MS = 500;

/** The options of a build, for `POST /v1/builds`. */
export interface BuildQuery {
  readonly name: string;
  readonly dockerfile?: string | undefined;
  readonly target?: string | undefined;
  readonly build_args?: string | undefined;
  readonly no_cache?: boolean | undefined;
  readonly pull?: boolean | undefined;
}

/**
 * Sends a context, shows what its build prints, and returns its record when it has ended. If the signal aborts, the build is
 * cancelled.
 */
export async function buildImage(
  api: ApiClient,
  out: DeployOutput,
  { query, path, signal }: { readonly query: BuildQuery; readonly path: string; readonly signal: AbortSignal },
): Promise<Build> {
  const headers = { "Content-Type": "application/gzip" };
  const begun = await api.data<Build>({
    method: "POST",
    path: "/v1/builds",
    query: { ...query },
    body: Bun.file(path),
    headers,
    timeout_ms: 0,
    signal,
  });
  try {
    return await follow(api, out, begun, signal);
  } catch (error) {
    if (signal.aborted) await api.send({ method: "DELETE", path: `/v1/builds/${begun.id}` }).catch(() => undefined);
    throw error;
  }
}

/** Reads the events of a build to its end, again after the connection was cut. */
async function follow(api: ApiClient, out: DeployOutput, begun: Build, signal: AbortSignal): Promise<Build> {
  let [build, position, isWaiting] = [begun, "0", false];
  for (;;) {
    const headers = { "Last-Event-ID": position };
    const events = serverEvents(api, { method: "GET", path: `/v1/builds/${build.id}/events`, headers, signal });
    try {
      for await (const { id, event, data } of events) {
        position = id ?? position;
        if (event === "log") out.progress((data as { readonly text: string }).text); // what the API promises
        if (event === "state") build = data as Build; // likewise
        if (event === "end") return build;
        if (event === "state" && build.status === "queued" && !isWaiting) {
          isWaiting = true;
          out.note("Waiting for other builds");
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof BrokenStream)) throw error;
    }
    await Bun.sleep(RECONNECT_MS);
  }
}

import type { Build } from "../../domain/builds/builds.ts";
import type { DeployApi, DeployOutput } from "./deploy-api.ts";

/** The parts of an event of a build that are read here. */
interface BuildEvent {
  readonly event: string;
  readonly data: unknown;
}

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
  api: DeployApi,
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
async function follow(api: DeployApi, out: DeployOutput, begun: Build, signal: AbortSignal): Promise<Build> {
  let [build, position, isWaiting] = [begun, "0", false];
  for (;;) {
    const response = await api.send({
      method: "GET",
      path: `/v1/builds/${build.id}/events`,
      headers: { Accept: "text/event-stream", "Last-Event-ID": position },
      timeout_ms: 0,
      signal,
    });
    if (!response.ok) throw await api.errorOf(response);
    for await (const { id, event, data } of eventsOf(response)) {
      position = id ?? position;
      if (event === "log") out.progress((data as { readonly text: string }).text); // what the API promises
      if (event === "state") build = data as Build; // likewise
      if (event === "end") return build;
      if (event === "state" && build.status === "queued" && !isWaiting) {
        isWaiting = true;
        out.note("Waiting for other builds");
      }
    }
    signal.throwIfAborted();
    await Bun.sleep(RECONNECT_MS);
  }
}

/** The wait before a stream that was cut is asked for again, in milliseconds. */
const RECONNECT_MS = 500;

/** Yields the server-sent events of an answer until it ends or breaks off. */
async function* eventsOf(response: Response): AsyncGenerator<BuildEvent & { readonly id: string | undefined }> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    const body: AsyncIterable<Uint8Array> | undefined = response.body ?? undefined;
    if (body === undefined) return;
    for await (const chunk of body) {
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = new Map(block.split("\n").map((line) => fieldOf(line)));
        const [event, data] = [fields.get("event"), fields.get("data")];
        if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data), id: fields.get("id") };
      }
    }
  } catch (error) {
    // The caller asks again, from where it was cut.
    if (!(error instanceof Error) || error.name === "SyntaxError") throw error;
  }
}

function fieldOf(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}

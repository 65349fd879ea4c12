import { EventSourceParserStream } from "eventsource-parser/stream";
import type { ChangedFunction } from "../../domain/functions/functions.ts";
import type { PullProgress } from "../../domain/images/pull-progress.ts";
import { ApiError, errorOf, type Failure, failed, send } from "./api.ts";

/** The events of a change that may begin with a pull. */
type PullEvent =
  | { readonly event: "progress"; readonly data: PullProgress }
  | { readonly event: "function"; readonly data: ChangedFunction }
  | { readonly event: "error"; readonly data: Failure };

interface Change {
  readonly method: "POST" | "PATCH";
  readonly path: string;
  readonly body?: unknown;
  readonly onProgress: (progress: PullProgress) => void;
}

/**
 * Registers or changes a function, and reports the progress of the pull if it needs one. Settles when the function can be called, or with
 * its `warnings` if not. Throws an `ApiError`.
 */
export async function changeFunction({ method, path, body, onProgress }: Change): Promise<ChangedFunction> {
  const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
  const response = await send(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  if (!response.ok || response.body === null) throw await errorOf(response, path);
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }) as const);
    if (done) throw broken();
    const told: unknown = JSON.parse(value.data);
    const { event, data } = { event: value.event, data: told } as PullEvent; // the server's own words
    if (event === "progress") onProgress(data);
    else if (event === "function") return data;
    else throw failed(data, response.status);
  }
}

function broken(): ApiError {
  const message =
    "The connection broke before the end. The server goes on with what it began: look at the function in a moment.";
  return new ApiError(message, { status: 0, reason: "unreachable" });
}

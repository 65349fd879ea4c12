import type { Clock } from "../../clock.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { PullProgress, PullWatcher } from "../../domain/images/pull-progress.ts";
import type { Logger } from "../../log.ts";
import { COMPLETE, failure, JSON_ANSWER, successText } from "../wire/envelope.ts";
import { pathOf, type RequestId, shownError } from "../wire/errors.ts";
import { type EventSink, eventStream, wantsEvents } from "../wire/event-stream.ts";
import { LONG_ANSWER_BYTES } from "../wire/slow-readers.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";

/** The most bytes of UTF-8 that a unit of a string takes. */
const BYTES_PER_UNIT = 3;

/** The dependencies of an answer with the events of a pull. */
export interface PullEventTools {
  readonly clock: Clock;
  readonly log: Logger;
  readonly requestId: RequestId;
}

interface PullContext {
  readonly request: Request;
  readonly set: { headers: Record<string, string | number> };
  /** The status of an answer without events. */
  readonly status: 200 | 201;
  /** Follows an answer that may be long, or take its time. */
  readonly follow: (request: Request) => void;
  /** Returns the function as JSON, as the caller may see it. */
  readonly shown: (request: Request, fn: Function) => string;
}

/**
 * Answers a request that may begin with a pull: with an envelope, or with events if the client accepts them. Elysia accepts
 * a Response in place of the data in the schema; its types do not.
 */
export async function answerPull(
  tools: PullEventTools,
  context: PullContext,
  work: (watcher?: PullWatcher) => Promise<Function>,
): Promise<never> {
  const { request, set, status, shown, follow } = context;
  if (wantsEvents(request)) {
    const events = await pullEvents(tools, context, work);
    follow(request);
    return events as never;
  }
  const text = successText(shown(request, await work()));
  if (text.length * BYTES_PER_UNIT >= LONG_ANSWER_BYTES) follow(request);
  const headers = { ...JSON_ANSWER.headers, "x-request-id": tools.requestId(set) };
  set.headers = COMPLETE;
  return new Response(text, { headers, status }) as never;
}

/**
 * Answers with the events of a pull: `progress` while it runs, then `function` or `error`. The answer begins when the pull
 * does, or when all is done if there is nothing to pull; errors before that are thrown. If the reader leaves, `work` goes on.
 */
async function pullEvents(
  { clock, log, requestId }: PullEventTools,
  context: Pick<PullContext, "request" | "set">,
  work: (watcher: PullWatcher) => Promise<unknown>,
): Promise<Response> {
  const left = new AbortController();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  let latest: PullProgress | undefined;
  let sink: EventSink | undefined;
  const onProgress = (progress: PullProgress) => {
    latest = progress;
    sink?.send({ event: "progress", data: progress });
    begin();
  };
  const done = work({ signal: left.signal, onProgress });
  await Promise.race([begun, done]);
  const { request, set } = context;
  const about = { request_id: requestId(set), method: request.method, path: pathOf(request.url) };
  return eventStream(clock, (opened) => {
    sink = opened;
    if (latest !== undefined) opened.send({ event: "progress", data: latest });
    void finish(opened, done, (error) => {
      const { reason, message } = shownError(error, log, about);
      return failure(reason, message, about.request_id);
    });
    return () => left.abort();
  });
}

async function finish(sink: EventSink, done: Promise<unknown>, toFailure: (error: unknown) => unknown): Promise<void> {
  try {
    sink.send({ event: "function", data: await done });
  } catch (error) {
    sink.send({ event: "error", data: toFailure(error) });
  }
  sink.end();
}

const EXAMPLE = [
  'event: progress\ndata: {"layers":[{"id":"b1424a69cb3e","status":"downloading","current_bytes":524288,"total_bytes":1048576}],"downloaded_bytes":524288,"total_bytes":1048576}\n\n',
  'event: function\ndata: {"id":"0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11","image":"ghcr.io/xprnio/serverless-hello-world:latest"}\n\n',
].join("");

/** The documentation of such an answer, for the `detail` of an endpoint. */
export const PULL_EVENTS_DETAIL = {
  200: {
    description:
      "With `Accept: text/event-stream`: server-sent events. `progress` carries a `PullProgress`, at most five times a " +
      "second. The last event is `function`, with what `data` would be, or `error`, with the error's envelope. " +
      "An error before the pull begins is answered with its own status, as without events.",
    headers: REQUEST_ID_HEADER,
    content: { "text/event-stream": { schema: { type: "string" as const }, example: EXAMPLE } },
  },
};

import { EventSourceParserStream } from "eventsource-parser/stream";
import type { ApiClient, ApiRequest } from "./api-client.ts";

/** An event of a stream; its data is JSON. */
export interface ServerEvent {
  readonly event: string;
  readonly data: unknown;
}

/** Follows an answer with server-sent events until it ends. Throws an `ApiError` if the server answers otherwise. */
export async function* serverEvents(client: ApiClient, request: ApiRequest): AsyncGenerator<ServerEvent> {
  const headers = { ...request.headers, Accept: "text/event-stream" };
  const response = await client.send({ timeout_ms: 0, ...request, headers });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  if (!response.ok || !isStream || response.body === null) throw await client.errorOf(response);
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  try {
    for await (const { event = "message", data } of events) yield { event, data: JSON.parse(data) };
  } catch (error) {
    throw client.noAnswer(error);
  }
}

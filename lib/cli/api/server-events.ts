import { EventSourceParserStream } from "eventsource-parser/stream";
import type { ApiClient, ApiRequest } from "./api-client.ts";

/** An event of a stream; its data is JSON. */
export interface ServerEvent {
  /** For `Last-Event-ID`; undefined if the event has none. */
  readonly id: string | undefined;
  readonly event: string;
  readonly data: unknown;
}

/** A stream of events that broke off. */
export class BrokenStream extends Error {
  override readonly name = "BrokenStream";
}

/**
 * Follows an answer with server-sent events until it ends. Throws an `ApiError` if the server answers otherwise, and a
 * `BrokenStream` if the answer breaks off.
 */
export async function* serverEvents(client: ApiClient, request: ApiRequest): AsyncGenerator<ServerEvent> {
  const headers = { ...request.headers, Accept: "text/event-stream" };
  const response = await client.send({ timeout_ms: 0, ...request, headers });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  if (!response.ok || !isStream || response.body === null) throw await client.errorOf(response);
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  try {
    for await (const { id, event = "message", data } of events) yield { id, event, data: JSON.parse(data) };
  } catch (error) {
    const told = client.noAnswer(error);
    throw error instanceof SyntaxError ? told : new BrokenStream(told.message, { cause: error });
  }
}

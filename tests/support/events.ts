/** A server-sent event with its data parsed. */
export interface ReceivedEvent {
  readonly event: string;
  readonly data: unknown;
}

/** Yields the events of a response as they arrive. */
export async function* eventsOf(response: Response): AsyncGenerator<ReceivedEvent, void> {
  if (response.body === null) throw new Error("The response has no body");
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      // Parts that begin with a colon are comments.
      const found = /^event: (.*)\ndata: (.*)(?:\nid: .*)?$/.exec(part);
      if (found !== null) yield { event: found[1] ?? "", data: JSON.parse(found[2] ?? "null") };
    }
  }
}

/** Returns all events once the response has ended. */
export function allEvents(response: Response): Promise<ReceivedEvent[]> {
  return Array.fromAsync(eventsOf(response));
}

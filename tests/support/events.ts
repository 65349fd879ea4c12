/** A server-sent event, its data parsed. */
export interface ReceivedEvent {
  readonly event: string;
  readonly data: unknown;
}

/** The events of an answer, as they come. */
export async function* eventsOf(response: Response): AsyncGenerator<ReceivedEvent, void> {
  if (response.body === null) throw new Error("The answer has no body");
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      // What begins with a colon is a comment.
      const found = /^event: (.*)\ndata: (.*)$/.exec(part);
      if (found !== null) yield { event: found[1] ?? "", data: JSON.parse(found[2] ?? "null") };
    }
  }
}

/** All of them, once the answer has ended. */
export function allEvents(response: Response): Promise<ReceivedEvent[]> {
  return Array.fromAsync(eventsOf(response));
}

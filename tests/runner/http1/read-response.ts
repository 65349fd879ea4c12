import { ResponseReader } from "../../../lib/runner/http1/response-reader.ts";
import type { AskedRequest, ResponseHead } from "../../../lib/runner/http1/response-head.ts";

/** An answer that was read, as far as it came. */
export interface ReadAnswer {
  readonly head: ResponseHead | undefined;
  readonly body: string;
  readonly ended: boolean;
  /** True if its connection can be used for another request. */
  readonly leavesConnection: boolean;
  /** The problem with it, or nothing. */
  readonly problem: string | undefined;
}

export const GET: AskedRequest = { method: "GET", upgrade: false };

/** Reads an answer from these chunks, each character a byte, after which the connection is closed unless it `staysOpen`. */
export function readResponse(chunks: readonly string[], asked = GET, staysOpen = false): ReadAnswer {
  const reader = new ResponseReader(asked);
  const bodies: Uint8Array[] = [];
  let head: ResponseHead | undefined;
  let ended = false;
  let problem: string | undefined;
  const take = (parts: ReturnType<ResponseReader["push"]>) => {
    for (const part of parts) {
      if (part.type === "head") head = part.head;
      else if (part.type === "body") bodies.push(part.bytes);
      else ended = true;
    }
  };
  try {
    for (const chunk of chunks) take(reader.push(Buffer.from(chunk, "latin1")));
    if (!staysOpen) take(reader.close());
  } catch (error) {
    // Everything else is a bug, and fails the test.
    if (!(error instanceof Error) || error.name !== "MalformedResponse") throw error;
    problem = error.message;
  }
  const body = Buffer.concat(bodies).toString("latin1");
  return { head, body, ended, leavesConnection: reader.leavesConnection, problem };
}

/** Cuts a text at these places, which are taken modulo its length. */
export function cutAt(text: string, places: readonly number[]): string[] {
  const cuts = [...new Set(places.map((place) => place % (text.length + 1)))].toSorted((a, b) => a - b);
  const edges = [0, ...cuts, text.length];
  return edges.slice(1).map((edge, index) => text.slice(edges[index], edge));
}

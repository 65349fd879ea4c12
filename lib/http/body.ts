import type { Server } from "bun";
import { AppError } from "../domain/errors.ts";

/** A body must have come within this time, however slowly it drips, in milliseconds. */
const BODY_MS = 60_000;
/** Nested deeper than this, JSON is an attack; no body of ours has more than three levels. */
const JSON_DEPTH = 64;

/**
 * Reads a request's body. Throws `payload_too_large` as soon as it is known to be over the limit, with a length or
 * without, and `request_timeout` when it does not come. Afterwards the connection may be silent for as long as the
 * work takes.
 */
export async function readBody(
  request: Request,
  server: Server<unknown> | null,
  limitBytes: number,
): Promise<Uint8Array> {
  const tooLarge = () => new AppError("payload_too_large", `The request body is over the limit of ${limitBytes} bytes`);
  const encoding = request.headers.get("content-encoding");
  if (encoding !== null && encoding !== "identity") {
    throw new AppError(
      "invalid_request",
      `Content-Encoding "${encoding.slice(0, 40)}" is not supported: send the body as it is`,
    );
  }
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (request.body !== null) {
    const reader = request.body.getReader();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void reader.cancel().catch(() => undefined);
    }, BODY_MS);
    try {
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        size += piece.value.length;
        if (size > limitBytes) {
          void reader.cancel().catch(() => undefined);
          throw tooLarge();
        }
        chunks.push(piece.value);
      }
    } finally {
      clearTimeout(timer);
    }
    if (late) throw new AppError("request_timeout", `The request body did not come within ${BODY_MS / 1000} s`);
  }
  server?.timeout(request, 0);
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}

/** A body as JSON, whatever its content type says: the seed's `curl -d` lines send it as a form. No body is undefined. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (depthOf(text) > JSON_DEPTH) throw new Error(`it is nested deeper than ${JSON_DEPTH} levels`);
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : "";
    throw new AppError("invalid_request", `The request body is not JSON: ${why}`, { cause: error });
  }
}

/** How deep brackets nest, those in strings left out. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (quoted) {
      if (char === 0x5c) i++;
      else if (char === 0x22) quoted = false;
    } else if (char === 0x22) quoted = true;
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (char === 0x7d || char === 0x5d) depth--;
  }
  return deepest;
}

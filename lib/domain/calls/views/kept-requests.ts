import { type Static, Type } from "@sinclair/typebox";
import { storableHeaders } from "../headers.ts";
import type { BufferedRequest } from "../http-message.ts";

/** The most bytes of a request's body that `GET /v1/invocations/:id/request` shows. */
export const SHOWN_REQUEST_BYTES = 128 * 1024;

/** The request of an invocation, as far as it is kept: the answer of `GET /v1/invocations/:id/request`. */
export const KeptRequest = Type.Object({
  method: Type.String({ description: "The method of the request.", examples: ["POST"] }),
  url: Type.String({ description: "Path and query, as they were sent.", examples: ["/r/hello?loud=1"] }),
  headers: Type.Unsafe<Readonly<Record<string, string>>>(
    Type.Object(
      {},
      {
        additionalProperties: Type.String(),
        description: "By name in lower case, without the caller's credentials.",
        examples: [{ "content-type": "application/json" }],
      },
    ),
  ),
  body: Type.String({
    description: `The body, at most its first ${SHOWN_REQUEST_BYTES / 1024} KiB; in base64 if \`encoding\` says so.`,
    examples: ['{"name": "Ada"}'],
  }),
  encoding: Type.Unsafe<"utf-8" | "base64">(
    Type.Union([Type.Literal("utf-8"), Type.Literal("base64")], {
      description: "`base64` for a body that is not UTF-8.",
      examples: ["utf-8"],
    }),
  ),
  body_bytes: Type.Integer({ description: "The size of the whole body.", examples: [15] }),
  is_cut: Type.Boolean({ description: "True if the body is longer than what is shown.", examples: [false] }),
});
export type KeptRequest = Static<typeof KeptRequest>;

/** Returns what is shown of a request. Credentials that a function has had stored (`store_credentials`) are for it alone. */
export function shownRequest({ method, url, headers, body }: BufferedRequest): KeptRequest {
  const is_cut = body.length > SHOWN_REQUEST_BYTES;
  const shown = is_cut ? body.subarray(0, SHOWN_REQUEST_BYTES) : body;
  const text = textOf(shown, is_cut);
  return {
    method,
    url,
    headers: storableHeaders(headers),
    body: text ?? Buffer.from(shown).toString("base64"),
    encoding: text === undefined ? "base64" : "utf-8",
    body_bytes: body.length,
    is_cut,
  };
}

/** Returns the bytes as text, without a last character that was cut; undefined if they are not UTF-8. */
function textOf(bytes: Uint8Array, is_cut: boolean): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: is_cut });
  } catch {
    return undefined;
  }
}

/** The first bytes of a zstd file, which no JavaScript or CSS begins with. */
const ZSTD = [0x28, 0xb5] as const;

/** Returns whether a file is compressed, as those in the binary are (.ci/compile-server.ts). */
export function isCompressed(bytes: Uint8Array): boolean {
  return bytes[0] === ZSTD[0] && bytes[1] === ZSTD[1];
}

/** Returns the text of a file that may be compressed, by the path that its import gives. */
export async function embeddedText(path: string): Promise<string> {
  const bytes = await Bun.file(path).bytes();
  return new TextDecoder().decode(isCompressed(bytes) ? await Bun.zstdDecompress(bytes) : bytes);
}

/** Answers with a file that may be compressed, in a form that nearly every client accepts. */
export async function answerFile(
  request: Request,
  bytes: Uint8Array<ArrayBuffer>,
  said: Readonly<Record<string, string>>,
): Promise<Response> {
  const headers = { ...said, Vary: "Accept-Encoding" };
  if (!isCompressed(bytes)) return new Response(bytes, { headers });
  if (/\bzstd\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(request.headers.get("accept-encoding") ?? "")) {
    return new Response(bytes, { headers: { ...headers, "Content-Encoding": "zstd" } });
  }
  return new Response(await Bun.zstdDecompress(bytes), { headers });
}

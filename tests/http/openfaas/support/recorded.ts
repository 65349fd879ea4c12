import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { parseReply, type RawReply } from "../../support/raw-request.ts";

const DIRECTORY = join(import.meta.dir, "../recorded");

/** Returns a recorded request. */
export function recorded(name: string): Promise<Buffer> {
  return readFile(join(DIRECTORY, `${name}.http`));
}

/**
 * Sends a recorded request as it is, over a connection that stays open as Go's do, and reads the answer to its end, or until
 * `isEnough` is true of the text that has come.
 */
export async function replay(url: string, name: string, isEnough?: (text: string) => boolean): Promise<RawReply> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const bytes = await recorded(name);
  let text = "";
  try {
    socket.write(bytes);
    for await (const chunk of socket) {
      text += (chunk as Buffer).toString("latin1"); // no encoding is set
      if (isEnough?.(text) ?? isWhole(text)) break;
    }
  } finally {
    socket.destroy();
  }
  const reply = parseReply(text);
  return { ...reply, text: Buffer.from(unchunked(reply), "latin1").toString() };
}

/** Returns whether an answer is there, by its length or its last chunk. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return false;
  const length = /^content-length: *(\d+)/im.exec(text.slice(0, end))?.[1];
  return length === undefined ? text.endsWith("0\r\n\r\n") : text.length >= end + 4 + Number(length);
}

function unchunked({ headers, text }: RawReply): string {
  if (headers.get("transfer-encoding") !== "chunked") return text;
  let body = "";
  for (let rest = text; ;) {
    const [, size = "0"] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? [];
    const length = Number.parseInt(size, 16);
    if (length === 0) return body;
    body += rest.slice(size.length + 2, size.length + 2 + length);
    rest = rest.slice(size.length + 2 + length + 2);
  }
}

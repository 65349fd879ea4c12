import { connect } from "node:net";

/** An answer read from its bytes, for requests that no client library would send. */
export interface RawReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sends bytes to a server on this machine and returns everything it sends until it closes the connection. */
export function exchange(url: string, request: string | Uint8Array): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) });
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
  socket.on("error", reject);
  socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
  socket.write(request);
  return promise;
}

/** Sends one request, a line such as `GET /healthz HTTP/1.1` and what follows it, and reads the answer. */
export async function rawRequest(
  url: string,
  line: string,
  { headers = ["Host: localhost"], body = "" }: { headers?: readonly string[]; body?: string } = {},
): Promise<RawReply> {
  const length = body === "" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const head = [line, ...headers, ...length, "Connection: close", "", ""].join("\r\n");
  return parseReply(await exchange(url, Buffer.from(head + body)));
}

/** Parses an answer. The status is 0 if nothing came. */
export function parseReply(text: string): RawReply {
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, Math.max(end, 0)).split("\r\n");
  const headers = new Headers();
  for (const line of lines) headers.append(line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim());
  return { status: Number(first.split(" ")[1] ?? 0), headers, text: text.slice(end + 4) };
}

import type { ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { DOCKER_HUB, type RegistryCredentials } from "../../domain/images/registries.ts";
import { type EngineConnection, EngineError } from "../api/connection.ts";

/** A session with BuildKit, in which it asks its client for what a build needs. */
export interface BuildSession extends Disposable {
  /** The build names it as its session. */
  readonly id: string;
}

/** The value of the engine's header `Builder-Version` if `docker build` uses BuildKit there, from Docker 23 on. */
const BUILDKIT = "2";
/** The methods that we answer, of google.golang.org/grpc/health and of session/auth/auth.proto in moby/buildkit. */
const [HEALTH, CREDENTIALS] = ["/grpc.health.v1.Health/Check", "/moby.filesync.v1.Auth/Credentials"] as const;
/** Docker Hub, as BuildKit asks for its credentials. */
const HUB = "registry-1.docker.io";
/** The longest question, in bytes: the name of a registry. */
const QUESTION_BYTES = 16 * 1024;
/** The bytes before a message of gRPC: a flag, and the length. */
const PREFIX_BYTES = 5;
/** Statuses of gRPC. */
const [OK, UNIMPLEMENTED] = ["0", "12"] as const;

/** Returns whether the engine's own client would build with BuildKit. */
export async function usesBuildKit(connection: Pick<EngineConnection, "request">): Promise<boolean> {
  const ping = await connection.request({ operation: "ping", method: "GET", path: "/_ping" });
  return ping.headers["builder-version"] === BUILDKIT;
}

/**
 * Opens a session for a build with BuildKit, which asks there for the credentials of each registry that wants some; also of
 * one that gives tokens to everybody, like Docker Hub. Returns nothing if the engine builds without BuildKit, or if what
 * stands before it lets no session through, such as a proxy that filters requests.
 */
export async function openBuildSession(
  connection: Pick<EngineConnection, "request" | "hijack">,
  credentials: readonly RegistryCredentials[],
  signal: AbortSignal,
): Promise<BuildSession | undefined> {
  if (!(await usesBuildKit(connection))) return undefined;
  const id = crypto.randomUUID().replaceAll("-", "");
  let socket: Duplex;
  try {
    socket = await connection.hijack({
      operation: "build session",
      method: "POST",
      path: "/session",
      headers: {
        Upgrade: "h2c",
        "X-Docker-Expose-Session-Uuid": id,
        "X-Docker-Expose-Session-Name": "slipway",
        "X-Docker-Expose-Session-Grpc-Method": CREDENTIALS,
      },
      signal,
    });
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
  await serve(socket, credentials);
  return { id, [Symbol.dispose]: () => void socket.destroy() };
}

/** Serves the engine, which is the client of the session. */
async function serve(socket: Duplex, credentials: readonly RegistryCredentials[]): Promise<void> {
  const { createServer } = await import("node:http2");
  const server = createServer();
  // If the session breaks, the build tells why it cannot go on.
  const ignore = () => undefined;
  socket.on("error", ignore);
  server.on("error", ignore);
  server.on("sessionError", ignore);
  server.on("stream", (stream, { ":path": method }) => {
    stream.on("error", ignore);
    readQuestion(stream, (question) => void reply(stream, method, question, credentials));
  });
  server.emit("connection", socket);
}

function readQuestion(stream: ServerHttp2Stream, then: (question: Uint8Array) => void): void {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes > QUESTION_BYTES) stream.close();
    else chunks.push(chunk);
  });
  stream.on("end", () => then(Buffer.concat(chunks).subarray(PREFIX_BYTES)));
}

async function reply(
  stream: ServerHttp2Stream,
  method: string | undefined,
  question: Uint8Array,
  credentials: readonly RegistryCredentials[],
): Promise<void> {
  const message = await answerTo(method, question, credentials);
  if (stream.destroyed) return;
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": message === undefined ? UNIMPLEMENTED : OK }));
  if (message === undefined) {
    stream.end();
    return;
  }
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([prefix, message]));
}

/** Returns the message for the engine; nothing for a method that we have not. Then it asks registries for tokens itself. */
async function answerTo(
  method: string | undefined,
  question: Uint8Array,
  credentials: readonly RegistryCredentials[],
): Promise<Uint8Array | undefined> {
  const { PbfReader, PbfWriter } = await import("pbf");
  const message = new PbfWriter();
  if (method === HEALTH) {
    // SERVING
    message.writeVarintField(1, 1);
  } else if (method === CREDENTIALS) {
    const { host } = new PbfReader(question).readFields(
      (field, asked: { host: string }, reader) => {
        if (field === 1) asked.host = reader.readString();
      },
      { host: "" },
    );
    const known = credentials.find((one) => one.host === (host === HUB ? DOCKER_HUB : host));
    // An identity token has no user there.
    if (known?.kind === "password" && known.username !== null) message.writeStringField(1, known.username);
    if (known !== undefined) message.writeStringField(2, known.secret);
  } else {
    return undefined;
  }
  return message.finish();
}

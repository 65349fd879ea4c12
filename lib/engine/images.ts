import { Type, type Static } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError, messageOf } from "../domain/errors.ts";
import { OWN_LABELS } from "../domain/function-rules.ts";
import { parseImageReference, pullTarget } from "../domain/image-reference.ts";
import { Nullable } from "../domain/types.ts";
import type { EngineConnection } from "./connection.ts";
import { EngineError, isEngineStatus } from "./errors.ts";

const list = Type.Optional(Nullable(Type.Array(Type.String())));

/** What we need of `GET /images/{name}/json`. */
const ImageInspect = Type.Object({
  Id: Type.String({ minLength: 1 }),
  RepoDigests: list,
  Config: Type.Optional(
    Nullable(
      Type.Object({
        Entrypoint: list,
        Cmd: list,
        User: Type.Optional(Nullable(Type.String())),
        // No Type.Record: its pattern lets a key with a line separator (U+2028) have a value of any type.
        Volumes: Type.Optional(Nullable(Type.Object({}, { additionalProperties: true }))),
        Labels: Type.Optional(
          Nullable(Type.Unsafe<Record<string, string>>(Type.Object({}, { additionalProperties: Type.String() }))),
        ),
      }),
    ),
  ),
});

/** What an image says about the containers that are made of it. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** Empty where it names none, and root is meant. */
  readonly user: string;
  /** Paths that get a volume each. */
  readonly volumes: readonly string[];
  /** Those that begin with `slipway.`; the others are none of our business. */
  readonly labels: Readonly<Record<string, string>>;
}

/** An image that is on the engine. */
export interface Image {
  readonly id: string;
  /** `repository@sha256:...`, one for each repository it was pulled from or pushed to. */
  readonly digests: readonly string[];
  readonly config: ImageConfig;
}

/** A pull that has sent nothing for this long is given up, in milliseconds. */
const PULL_STALL_MS = 60_000;
/** Progress is one JSON object a line; no engine sends lines near this length. */
const PROGRESS_LINE_BYTES = 1024 * 1024;

/** Images of the engine: looked at and pulled. */
export class Images {
  readonly #connection: EngineConnection;
  readonly #pullTimeoutMs: number;

  constructor(connection: EngineConnection, pullTimeoutMs: number) {
    this.#connection = connection;
    this.#pullTimeoutMs = pullTimeoutMs;
  }

  /** The image behind a reference or an id, or nothing where the engine has none. */
  async inspect(reference: string): Promise<Image | undefined> {
    try {
      const reply = await this.#connection.request({
        operation: "image inspect",
        method: "GET",
        path: `/images/${encodeURIComponent(reference)}/json`,
      });
      if (!Value.Check(ImageInspect, reply.body))
        throw new EngineError("image inspect", reply.status, "unexpected reply");
      const body: Static<typeof ImageInspect> = reply.body;
      const { Entrypoint, Cmd, User, Volumes, Labels } = body.Config ?? {};
      return {
        id: body.Id,
        digests: body.RepoDigests ?? [],
        config: {
          entrypoint: Entrypoint ?? [],
          command: Cmd ?? [],
          user: User ?? "",
          volumes: Object.keys(Volumes ?? {}),
          labels: Object.fromEntries(Object.entries(Labels ?? {}).filter(([key]) => key.startsWith(OWN_LABELS))),
        },
      };
    } catch (error) {
      if (isEngineStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /**
   * Pulls an image, always with an explicit tag or digest: without one the engine pulls every tag.
   * Throws `image_not_found`, `registry_denied` or `image_unavailable` with the registry's own words.
   */
  async pull(reference: string): Promise<void> {
    const { from_image, tag } = pullTarget(parseImageReference(reference));
    try {
      const stream = await this.#connection.stream({
        operation: "image pull",
        method: "POST",
        path: "/images/create",
        query: { fromImage: from_image, tag },
        timeout_ms: this.#pullTimeoutMs,
      });
      await followPull(stream, this.#pullTimeoutMs);
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw pullError(reference, error);
    }
  }
}

/** Reads the progress to its end: that is where most failures of a pull are told, after a 200. */
async function followPull(
  stream: AsyncIterable<Buffer> & { destroy(error?: Error): unknown },
  timeoutMs: number,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  const total = setTimeout(() => stream.destroy(new Error(`it took more than ${timeoutMs} ms`)), timeoutMs);
  let stall = setTimeout(() => undefined, 0);
  const watch = () => {
    clearTimeout(stall);
    stall = setTimeout(() => stream.destroy(new Error(`nothing came for ${PULL_STALL_MS} ms`)), PULL_STALL_MS);
  };
  try {
    watch();
    for await (const chunk of stream) {
      watch();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > PROGRESS_LINE_BYTES) throw new Error("the engine's progress makes no sense");
      for (const line of lines) checkProgress(line);
    }
    checkProgress(rest);
  } finally {
    clearTimeout(total);
    clearTimeout(stall);
  }
}

function checkProgress(line: string): void {
  if (line.trim() === "") return;
  const progress: unknown = JSON.parse(line);
  if (progress === null || typeof progress !== "object" || !("error" in progress)) return;
  throw new Error(String(progress.error));
}

const NOT_FOUND =
  /manifest unknown|manifest for .* not found|not found|does not exist|no such (?:image|manifest)|name unknown/i;
const DENIED = /unauthorized|denied|no basic auth credentials|authentication required|forbidden/i;

/** Of a registry that has the manifest and has lost a layer, podman says the same. */
const OTHER_LOSS = /no such host|blob/i;
/** Paths of the engine's host are none of the caller's business; podman and full disks name them. */
const HOST_PATH = /(?<![\w.:@-])"?\/(?:var|run|tmp|home|root|mnt|srv|opt)\/[^\s":]*"?/g;

function pullError(reference: string, error: unknown): AppError {
  const said = messageOf(error).replaceAll(HOST_PATH, "a file of the engine");
  const head = `Cannot pull image "${reference}"`;
  if (isEngineStatus(error, 400)) return new AppError("invalid_request", `${head}: ${said}`, { cause: error });
  // Docker Hub answers "denied ... may require docker login" for a name that does not exist, hence both hints.
  if (DENIED.test(said)) {
    return new AppError(
      "registry_denied",
      `${head}: the registry refused (${said}). Check the name; private images need credentials.`,
      { cause: error },
    );
  }
  if (NOT_FOUND.test(said) && !OTHER_LOSS.test(said)) {
    return new AppError(
      "image_not_found",
      `${head}: the registry has no such image (${said}). Check the name and the tag.`,
      { cause: error },
    );
  }
  return new AppError(
    "image_unavailable",
    `${head}: ${said}. Check that the registry can be reached from the engine.`,
    { cause: error, retry_after_s: 10 },
  );
}

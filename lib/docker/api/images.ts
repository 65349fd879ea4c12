import { Type, type Static } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../../clock.ts";
import { type ImageSignals, SIGNAL_VARIABLES } from "../../domain/functions/detection.ts";
import { PORT } from "../../domain/limits.ts";
import { OWN_LABELS } from "../../domain/functions/rules.ts";
import type { RegistryCredentials } from "../../domain/images/registries.ts";
import { spelledOut } from "../../domain/images/reference.ts";
import { Nullable } from "../../domain/types.ts";
import type { NamedImage, OwnCommand } from "../../runner/platform.ts";
import { type EngineConnection, EngineError, isEngineStatus } from "./connection.ts";
import { pullImage, type PullOptions } from "./image-pull.ts";
import { DENIED, registryAuthHeaders } from "./registry-auth.ts";

/** The time that a registry has to say whether it has an image, in milliseconds. */
const REGISTRY_QUERY_MS = 10_000;

const list = Type.Optional(Nullable(Type.Array(Type.String())));

/** The parts of `GET /images/{name}/json` that we need. */
const ImageInspect = Type.Object({
  Id: Type.String({ minLength: 1 }),
  RepoDigests: list,
  Config: Type.Optional(
    Nullable(
      Type.Object({
        Entrypoint: list,
        Cmd: list,
        User: Type.Optional(Nullable(Type.String())),
        Env: list,
        ExposedPorts: Type.Optional(Nullable(Type.Object({}, { additionalProperties: true }))),
        // No Type.Record: its pattern lets a key with a line separator (U+2028) have a value of any type.
        Volumes: Type.Optional(Nullable(Type.Object({}, { additionalProperties: true }))),
        Labels: Type.Optional(
          Nullable(Type.Unsafe<Record<string, string>>(Type.Object({}, { additionalProperties: Type.String() }))),
        ),
      }),
    ),
  ),
});

/** The parts of `GET /images/json` that we need. */
const ImageList = Type.Array(Type.Object({ Id: Type.String({ minLength: 1 }), RepoTags: list, RepoDigests: list }));

/** The most requests for one list of images. */
const LIST_TRIES = 5;

/**
 * Lists images: those that have a name, or are not part of another; or those that pass the engine's `filters`. The containerd
 * image store answers 404 if an image is removed while it looks at each: then it is asked again.
 */
export async function listImages(
  connection: EngineConnection,
  filters?: Readonly<Record<string, readonly string[]>>,
): Promise<Static<typeof ImageList>> {
  for (let tries = 1; ; tries++) {
    try {
      const reply = await connection.request({
        operation: "image list",
        method: "GET",
        path: "/images/json",
        ...(filters && { query: { filters: JSON.stringify(filters) } }),
      });
      if (!Value.Check(ImageList, reply.body)) throw new EngineError("image list", reply.status, "unexpected reply");
      return reply.body;
    } catch (error) {
      if (tries === LIST_TRIES || !isEngineStatus(error, 404)) throw error;
    }
  }
}

/** An image's configuration for containers that are created from it. */
export interface ImageConfig extends ImageSignals {
  /** Empty if it names none, which means root. */
  readonly user: string;
  /** True if its variables have a HOME. */
  readonly sets_home?: boolean;
  /** The paths that get a volume each. */
  readonly volumes: readonly string[];
}

/** Returns the whole command of a function. An entrypoint of its own drops the image's command, as with `docker run`. */
export function commandOf(
  { entrypoint, command }: OwnCommand,
  image: Pick<ImageConfig, "entrypoint" | "command">,
): readonly string[] {
  const ofImage = entrypoint ? [] : image.command;
  return [...(entrypoint ?? image.entrypoint), ...(command ?? ofImage)];
}

/** Returns those of an image's variables that say how it is spoken to. */
function signalVariables(entries: readonly string[]): Readonly<Record<string, string>> {
  const pairs = entries.map((entry): [string, string] => {
    const end = entry.indexOf("=");
    return end === -1 ? [entry, ""] : [entry.slice(0, end), entry.slice(end + 1)];
  });
  return Object.fromEntries(pairs.filter(([name]) => SIGNAL_VARIABLES.some((known) => known === name)));
}

/** Returns the TCP ports of an image's `ExposedPorts`, such as `80/tcp`. */
function tcpPorts(exposed: readonly string[]): number[] {
  const ports = exposed.flatMap((port) => {
    const [, number] = /^(\d{1,5})(?:\/tcp)?$/i.exec(port) ?? [];
    return number === undefined ? [] : [Number(number)];
  });
  return ports.filter((port) => port >= PORT.min && port <= PORT.max).toSorted((a, b) => a - b);
}

/** An image that is on the engine. */
export interface Image {
  readonly id: string;
  /** `repository@sha256:...`, one for each repository it was pulled from or pushed to. */
  readonly digests: readonly string[];
  readonly config: ImageConfig;
}

interface ImagesDeps {
  readonly connection: EngineConnection;
  readonly clock: Clock;
  readonly pull_timeout_ms: number;
}

/** Looks up, pulls and removes images of the engine. */
export class Images {
  readonly #deps: ImagesDeps;

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
  }

  /** Returns the image behind a reference or an id, or nothing if the engine does not have it. */
  async inspect(reference: string): Promise<Image | undefined> {
    try {
      const reply = await this.#deps.connection.request({
        operation: "image inspect",
        method: "GET",
        path: `/images/${encodeURIComponent(reference)}/json`,
      });
      if (!Value.Check(ImageInspect, reply.body))
        throw new EngineError("image inspect", reply.status, "unexpected reply");
      const body: Static<typeof ImageInspect> = reply.body;
      const { Entrypoint, Cmd, User, Env, ExposedPorts, Volumes, Labels } = body.Config ?? {};
      return {
        id: body.Id,
        digests: body.RepoDigests ?? [],
        config: {
          entrypoint: Entrypoint ?? [],
          command: Cmd ?? [],
          user: User ?? "",
          ...(Env?.some((entry) => entry.startsWith("HOME=")) && { sets_home: true }),
          variables: signalVariables(Env ?? []),
          exposed_ports: tcpPorts(Object.keys(ExposedPorts ?? {})),
          volumes: Object.keys(Volumes ?? {}),
          labels: Object.fromEntries(Object.entries(Labels ?? {}).filter(([key]) => key.startsWith(OWN_LABELS))),
        },
      };
    } catch (error) {
      if (isEngineStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Pulls an image. Throws `image_not_found`, `registry_denied` or `image_unavailable` with the registry's own words. */
  pull(reference: string, options: PullOptions = {}): Promise<void> {
    const setting = {
      connection: this.#deps.connection,
      clock: this.#deps.clock,
      timeout_ms: this.#deps.pull_timeout_ms,
    };
    return pullImage(setting, reference, options);
  }

  /**
   * Returns whether an image's digests prove that it came from a registry (or was pushed to one). They do in Docker's older
   * image store. The containerd image store gives every image a digest, which is also its id; so does Podman.
   */
  digestsProvePulls(id: string, digests: readonly string[]): boolean {
    return !this.#deps.connection.isPodman && digests.every((digest) => !digest.endsWith(`@${id}`));
  }

  /**
   * Asks the registry of a digest (`repository@sha256:...`) whether it has it and gives it to us. Throws `EngineError` or
   * `engine_unavailable` if it cannot be asked.
   */
  async inRegistry(digest: string, credentials: RegistryCredentials | undefined): Promise<boolean> {
    try {
      await this.#deps.connection.request({
        operation: "registry query",
        method: "GET",
        path: `/distribution/${encodeURIComponent(digest)}/json`,
        headers: registryAuthHeaders(credentials),
        timeout_ms: REGISTRY_QUERY_MS,
      });
      return true;
    } catch (error) {
      if (isEngineStatus(error, 401, 403, 404)) return false;
      if (error instanceof EngineError && DENIED.test(error.message)) return false;
      throw error;
    }
  }

  /**
   * Returns whether the engine has an image in the containerd image store. There its id is the digest of its manifest; in
   * Docker's older store, and in Podman, it is the digest of its configuration.
   */
  isByManifest({ id, digests }: Pick<Image, "id" | "digests">): boolean {
    return !this.#deps.connection.isPodman && digests.some((digest) => digest.endsWith(`@${id}`));
  }

  /** Returns the tar archive that `docker save` makes of an image. It fails if it is not read in the time of a pull. */
  async archive(id: string): Promise<IncomingMessage> {
    const { connection, clock, pull_timeout_ms } = this.#deps;
    const path = `/images/${encodeURIComponent(id)}/get`;
    const archive = await connection.stream({ operation: "image save", method: "GET", path });
    const cancel = clock.after(pull_timeout_ms, () => archive.destroy(new Error(`not read in ${pull_timeout_ms} ms`)));
    archive.on("close", cancel);
    return archive;
  }

  /** Lists all images that have a name, or are not part of another. */
  async list(): Promise<NamedImage[]> {
    const images = await listImages(this.#deps.connection);
    return images.map(({ Id, RepoTags, RepoDigests }) => ({
      id: Id,
      // Without a name it is "<none>:<none>", or "repository@<none>".
      names: [...(RepoTags ?? []), ...(RepoDigests ?? [])].filter((name) => !name.includes("<none>")).map(spelledOut),
    }));
  }

  /** Returns whether there is a container of an image, or of an image that was built from it. */
  async hasContainers(id: string): Promise<boolean> {
    const reply = await this.#deps.connection.request({
      operation: "container list",
      method: "GET",
      path: "/containers/json",
      query: { all: 1, limit: 1, filters: JSON.stringify({ ancestor: [id] }) },
    });
    return !Array.isArray(reply.body) || reply.body.length > 0;
  }

  /**
   * Removes a name of an image, and the image with its last name; or removes the image with this id, if it has one tag at
   * most and digests of the same repository. Returns false if the engine refuses because it is in use. With `parents` the
   * images go, too, that it was built on step by step and that have no name and no other use.
   */
  async remove(nameOrId: string, { parents = false } = {}): Promise<boolean> {
    try {
      await this.#deps.connection.request({
        operation: "image remove",
        method: "DELETE",
        path: `/images/${encodeURIComponent(nameOrId)}`,
        query: { force: 0, noprune: parents ? 0 : 1 },
      });
      return true;
    } catch (error) {
      if (isEngineStatus(error, 404)) return true;
      if (isEngineStatus(error, 409)) return false;
      throw error;
    }
  }
}

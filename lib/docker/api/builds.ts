import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type { BuildRequest } from "../../domain/builds/builds.ts";
import { BUILDER_LABEL } from "../../domain/images/labels.ts";
import type { RegistryCredentials } from "../../domain/images/registries.ts";
import { type EngineConnection, EngineError } from "./connection.ts";
import { listImages } from "./images.ts";
import { registryConfigHeaders } from "./registry-auth.ts";

const ListedContainers = Type.Array(Type.Object({ Id: Type.String({ minLength: 1 }), ImageID: Type.String() }));

/** A build for the engine. */
interface EngineBuild extends Omit<BuildRequest, "name"> {
  /** The name that the image gets. */
  readonly image: string;
  readonly context: Readable;
  readonly credentials: readonly RegistryCredentials[];
  /** The time until the engine has the whole context, in milliseconds. */
  readonly timeout_ms: number;
  readonly signal: AbortSignal;
  /** The open session of a build with BuildKit; the classic builder has none. */
  readonly session: { readonly id: string } | undefined;
  /** The id of the database whose server builds. */
  readonly owner: string;
}

/**
 * Begins a build, and returns the stream of its progress: lines of JSON. If the stream is closed, the engine cancels the build.
 * With a session it is BuildKit's, whose lines have records of its own in them, and which gives the image our label.
 */
export function openBuild(connection: EngineConnection, build: EngineBuild): Promise<IncomingMessage> {
  const { image, dockerfile, target, build_args, no_cache, pull, context, credentials, session, owner, ...limits } =
    build;
  return connection.stream({
    operation: "image build",
    method: "POST",
    path: "/build",
    query: {
      t: image,
      dockerfile,
      ...(target !== null && { target }),
      buildargs: JSON.stringify(build_args),
      nocache: no_cache,
      pull,
      ...(session === undefined
        ? // Removes the containers of all steps, also those of a step that failed.
          { rm: true, forcerm: true }
        : { version: 2, session: session.id, labels: JSON.stringify({ [BUILDER_LABEL]: owner }) }),
    },
    headers: { "Content-Type": "application/x-tar", ...registryConfigHeaders(credentials) },
    upload: context,
    ...limits,
  });
}

/** Lists the images that builds of an owner have left: without a name, and not part of another image. */
export async function listLeftImages(connection: EngineConnection, owner: string): Promise<string[]> {
  const filters = { dangling: ["true"], label: [`${BUILDER_LABEL}=${owner}`] };
  return (await listImages(connection, filters)).map(({ Id }) => Id);
}

/** Lists the containers that were made of just this image and do not run: steps of a build that the engine did not finish. */
export async function listStoppedContainers(connection: EngineConnection, imageId: string): Promise<string[]> {
  const filters = { ancestor: [imageId], status: ["created", "exited", "dead"] };
  const reply = await connection.request({
    operation: "container list",
    method: "GET",
    path: "/containers/json",
    query: { all: 1, filters: JSON.stringify(filters) },
  });
  if (!Value.Check(ListedContainers, reply.body)) {
    throw new EngineError("container list", reply.status, "unexpected reply");
  }
  return reply.body.filter(({ ImageID }) => ImageID === imageId).map(({ Id }) => Id);
}

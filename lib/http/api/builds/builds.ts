import { Elysia, t } from "elysia";
import type { Clock } from "../../../clock.ts";
import { Build, BuildPage, BuildState, parseBuildListQuery, parseBuildRequest } from "../../../domain/builds/builds.ts";
import { BUILDS } from "../../../domain/limits.ts";
import type { BuildService } from "../../../services/builds/builds.ts";
import { type Guard, resource } from "../../access/guard.ts";
import { OpenStreams } from "../../access/open-streams.ts";
import { REQUEST_ID_HEADER } from "../../openapi/errors.ts";
import { refuseEncoding } from "../../wire/body.ts";
import { Envelope, errors, success } from "../../wire/envelope.ts";
import { pageFields } from "../../wire/pages.ts";
import { flag } from "../../wire/parameters.ts";
import type { IdleTimeouts } from "../../wire/idle-timeouts.ts";
import { buildEvents } from "./build-events.ts";
import { readInPieces } from "./context-body.ts";

interface BuildTools {
  readonly builds: BuildService;
  readonly clock: Clock;
  readonly idle_timeouts: IdleTimeouts;
  /** The largest context, in bytes. */
  readonly build_bytes: number;
}

const params = t.Object({
  id: t.String({ description: "The id of the build.", examples: ["019ac2c1-7d3e-7000-9a53-2f6f8f1f3c55"] }),
});
const order = t.Object(
  {
    name: t.String({
      description:
        "The name of the image, usually that of the function: lower-case letters, digits and hyphens in between, at most 63.",
      examples: ["hello"],
    }),
    dockerfile: t.Optional(
      t.String({
        description: "The path of the Dockerfile in the context; `Dockerfile` by default.",
        examples: ["Dockerfile"],
      }),
    ),
    target: t.Optional(
      t.String({ description: "The stage to build; the last one by default.", examples: ["production"] }),
    ),
    build_args: t.Optional(
      t.String({
        description:
          "Values of the Dockerfile's `ARG`, as a JSON object of texts. Not for secrets: the image's history has them.",
        examples: ['{"NODE_ENV":"production"}'],
      }),
    ),
    no_cache: flag("Run every step, also those that an earlier build has run.", "false"),
    pull: flag("Pull the images that it is built on anew.", "false"),
  },
  { additionalProperties: false },
);
const filter = t.Object(
  {
    name: t.Optional(t.String({ description: "Only builds of this name.", examples: ["hello"] })),
    status: t.Optional(BuildState),
    ...pageFields("Records"),
  },
  { additionalProperties: false },
);

const creation = {
  operationId: "createBuild",
  summary: "Build an image",
  description:
    "The body is the build context: a tar archive, packed with gzip or not. Answers when it has arrived; the engine builds the " +
    "image after that (`GET /v1/builds/{id}/events` follows it). The result is the image's name, for `POST /v1/functions`. " +
    "Registries get the credentials that the server has for them. An image that no function uses is removed after an hour.",
  requestBody: {
    required: true,
    content: {
      "application/x-tar": { schema: { type: "string" as const, format: "binary" } },
      "application/gzip": { schema: { type: "string" as const, format: "binary" } },
    },
  },
};

const EXAMPLE =
  'event: log\ndata: {"text":"Step 1/2 : FROM debian:stable-slim\\n"}\nid: 36\n\n' +
  'event: state\ndata: {"id":"019ac2c1-7d3e-7000-9a53-2f6f8f1f3c55","status":"running"}\n\n' +
  "event: end\ndata: {}\n\n";

/** `/v1/builds`: images that the server has the engine build. */
export function buildsRoutes(guard: Guard, tools: BuildTools) {
  return new Elysia({ normalize: false }).use(allRoutes(guard, tools)).use(oneRoutes(guard, tools));
}

function allRoutes(guard: Guard, { builds, clock, idle_timeouts, build_bytes }: BuildTools) {
  return resource(guard, "builds")
    .get("/", ({ query }) => success(builds.list(parseBuildListQuery(query))), {
      needs: "read",
      long: true,
      query: filter,
      response: { 200: Envelope(BuildPage, "A page of builds, newest first."), ...errors(400) },
      detail: {
        operationId: "listBuilds",
        summary: "List the builds, newest first",
        description: `The last ${BUILDS} are kept.`,
      },
    })
    .post(
      "/",
      async ({ query, request, set }) => {
        refuseEncoding(request);
        await using arrival = await builds.receive(parseBuildRequest(query));
        await readInPieces(request, {
          clock,
          stall_ms: idle_timeouts.stall_ms,
          limit_bytes: build_bytes,
          write: (bytes) => arrival.file.write(bytes),
        });
        set.status = 202;
        return success(await arrival.submit());
      },
      {
        needs: "write",
        query: order,
        parse: "none",
        response: { 202: Envelope(Build, "The build, which waits or runs."), ...errors(400, 408, 413, 415, 503, 507) },
        detail: creation,
      },
    );
}

function oneRoutes(guard: Guard, { builds, clock }: BuildTools) {
  const openStreams = new OpenStreams();
  return resource(guard, "builds")
    .get("/:id", ({ params: { id } }) => success(builds.get(id)), {
      needs: "read",
      params,
      response: { 200: Envelope(Build, "The build."), ...errors(404) },
      detail: { operationId: "getBuild", summary: "Show a build" },
    })
    .get(
      "/:id/events",
      ({ params: { id }, request }) => {
        const enter = () => openStreams.enter(guard.callerOf(request).key_id);
        return buildEvents(builds, clock, id, { last_event_id: request.headers.get("last-event-id"), enter });
      },
      {
        needs: "read",
        long: true,
        params,
        response: errors(404, 503),
        detail: {
          operationId: "followBuild",
          summary: "Follow a build",
          description:
            "Server-sent events. `log` has what the build has printed, from its beginning or after `Last-Event-ID`; `state` has " +
            "its record, at each step and when it has ended; `end` is the last event.",
          responses: {
            200: {
              description: "The events.",
              headers: REQUEST_ID_HEADER,
              content: { "text/event-stream": { schema: { type: "string" as const }, example: EXAMPLE } },
            },
          },
        },
      },
    )
    .delete("/:id", async ({ params: { id } }) => success(await builds.cancel(id)), {
      needs: "write",
      params,
      response: { 200: Envelope(Build, "The build, which has ended."), ...errors(404, 409) },
      detail: {
        operationId: "cancelBuild",
        summary: "Cancel a build",
        description: "Answers when nothing of it runs any more. Answers 409 if the build has ended already.",
      },
    });
}

import { t } from "elysia";
import { AppliedManifest, type ApplyOptions, Manifest } from "../../domain/manifest/manifest.ts";
import type { ManifestService } from "../../services/functions/manifest.ts";
import { Envelope, errors, JSON_ANSWER, success } from "../wire/envelope.ts";
import { flag } from "../wire/parameters.ts";
import { jsonInSlices, inSlices } from "../sliced/json.ts";
import { manifestYaml } from "../sliced/yaml.ts";
import { mapInSlices } from "../../domain/concurrency.ts";
import { parseManifestBody } from "./manifest-body.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { type Guard, resource } from "../access/guard.ts";

const YAML = "application/yaml";
/** The most bytes of a body with a manifest, which is read in slices: 10,000 functions in JSON. */
const APPLY_BODY_BYTES = 6 * 1024 * 1024;

const query = t.Object(
  {
    dry_run: flag("Report what would change, and change nothing."),
    prune: flag("Delete named functions, and routes, that the manifest does not mention."),
    pull: flag("Pull all images again, and update the functions to what their references name now."),
    probe: flag("Try out the functions of the contract `http` that change; true unless it is given.", "false"),
  },
  { additionalProperties: false },
);

const EXAMPLE = `version: 1
functions:
  hello-world:
    image: slipway/hello-world:\${TAG:-latest}
    timeout_ms: 5000
routes:
  /hello-world:
    function: hello-world
`;

const EXAMPLE_JSON = {
  manifest: {
    version: 1,
    functions: { "hello-world": { image: "slipway/hello-world:${TAG:-latest}", timeout_ms: 5_000 } },
    routes: { "/hello-world": { function: "hello-world" } },
  },
  variables: { TAG: "1.4" },
  dry_run: true,
};

const apply = {
  operationId: "applyManifest",
  summary: "Apply a manifest to the server",
  description:
    "The body is the manifest as YAML or JSON, or a JSON object with `manifest` (an object or a string of YAML) and " +
    "`variables`. All images are found first; then everything changes in one transaction, or nothing does. Fields that a " +
    "function or a route leaves out get their defaults. Functions and routes that the manifest does not mention stay, " +
    "unless `prune` is set, and those that match it already are not touched. Query parameters override the body's options.",
  requestBody: {
    required: true,
    content: {
      "application/json": { schema: { $ref: "#/components/schemas/ApplyManifest" }, example: EXAMPLE_JSON },
      [YAML]: { schema: { type: "string" as const }, example: EXAMPLE },
    },
  },
};
const exporting = {
  operationId: "exportManifest",
  summary: "Export all functions and routes as a manifest",
  description:
    "YAML, unless `Accept` asks for `application/json`. Applied to this server it changes nothing. Settings with their " +
    "default value are left out. A function without a name gets one made of its id.",
  responses: {
    200: {
      description: "With any `Accept` except JSON, the manifest itself as YAML.",
      headers: REQUEST_ID_HEADER,
      content: {
        [YAML]: { schema: { type: "string" as const }, example: EXAMPLE.replace("${TAG:-latest}", "latest") },
      },
    },
  },
};

/** `/v1/apply` and `/v1/export`: all functions and routes as one file. */
export function manifestRoutes(guard: Guard, manifests: ManifestService) {
  return resource(guard, "manifest")
    .post(
      "/apply",
      async ({ request, query }) => {
        const bytes = await guard.readBody(request, APPLY_BODY_BYTES);
        const { manifest, ...body } = await parseManifestBody(bytes, request.headers.get("content-type"));
        const chosen = (name: keyof ApplyOptions, otherwise = false) =>
          query[name] ? query[name] === "true" : (body[name] ?? otherwise);
        const options = {
          dry_run: chosen("dry_run"),
          prune: chosen("prune"),
          pull: chosen("pull"),
          probe: chosen("probe", true),
        };
        return inSlices(success(await manifests.apply(manifest, options)));
      },
      {
        needs: "write",
        long: true,
        parse: "none",
        query,
        response: {
          200: Envelope(AppliedManifest, "What has changed, or would change."),
          ...errors(400, 408, 409, 413, 415, 502, 503, 507),
        },
        detail: apply,
      },
    )
    .get(
      "/export",
      async ({ request }) => {
        const manifest = await shownManifest(await manifests.export(), (entry) => guard.shown(request, entry));
        const answer = prefersJson(request.headers.get("accept"))
          ? new Response(await jsonInSlices(success(manifest)), JSON_ANSWER)
          : new Response(await manifestYaml(manifest), { headers: { "Content-Type": YAML } });
        answer.headers.set("Vary", "Accept");
        // Elysia accepts a Response in place of the data in the schema; its types do not.
        return answer as never;
      },
      {
        needs: "read",
        long: true,
        response: { 200: Envelope(Manifest, "The manifest of this server."), ...errors(503) },
        detail: exporting,
      },
    );
}

function prefersJson(accept: string | null): boolean {
  return accept !== null && /\bapplication\/json\b/i.test(accept) && !/\byaml\b/i.test(accept);
}

/** Returns a manifest with what `shown` leaves of each function and each route. */
async function shownManifest(manifest: Manifest, shown: <T>(entry: T) => T): Promise<Manifest> {
  const part = async <T>(entries: Readonly<Record<string, T>> = {}) =>
    Object.fromEntries(await mapInSlices(Object.entries(entries), ([name, entry]) => [name, shown(entry)] as const));
  return { ...manifest, functions: await part(manifest.functions), routes: await part(manifest.routes) };
}

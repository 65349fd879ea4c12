import { Type, type Static } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Environment } from "../environment.ts";
import { AppError } from "../errors.ts";
import { expectation } from "../schema-words.ts";
import { checkFunctionName, CreateFunction, type Function } from "../functions/functions.ts";
import { FunctionName } from "../functions/settings.ts";
import { FUNCTIONS, ROUTES, SECRETS } from "../limits.ts";
import { GIVEN_ROUTE_OPTIONS } from "../routes/options.ts";
import { SecretName } from "../secrets.ts";

/** A function in a manifest: what `POST /v1/functions` takes, less its name. */
const ManifestFunction = Type.Omit(CreateFunction, ["name"], {
  additionalProperties: false,
  description: "The image and the settings; those that are left out are as in a new function.",
});
export type ManifestFunction = Static<typeof ManifestFunction>;

/** A route in a manifest: what `POST /v1/routes` takes, less its path. */
const ManifestRoute = Type.Object(
  {
    function: Type.String({
      ...{ minLength: 1, maxLength: FunctionName.maxLength ?? 0, pattern: FunctionName.pattern ?? "" },
      description: "The name of a function, of this manifest or of the server.",
      examples: ["hello-world"],
    }),
    ...GIVEN_ROUTE_OPTIONS,
  },
  {
    additionalProperties: false,
    description: "The function and the options; those that are left out are as in a new route.",
  },
);
export type ManifestRoute = Static<typeof ManifestRoute>;

/** What a server is to have: `slipway.yaml`. */
export const Manifest = Type.Object(
  {
    version: Type.Literal(1, { description: "Of this format.", examples: [1] }),
    functions: Type.Optional(
      Type.Unsafe<Record<string, ManifestFunction>>(
        Type.Object(
          {},
          {
            additionalProperties: ManifestFunction,
            maxProperties: FUNCTIONS,
            description: "The functions by name.",
            examples: [{ "hello-world": { image: "slipway/hello-world", timeout_ms: 5_000 } }],
          },
        ),
      ),
    ),
    routes: Type.Optional(
      Type.Unsafe<Record<string, ManifestRoute>>(
        Type.Object(
          {},
          {
            additionalProperties: ManifestRoute,
            maxProperties: ROUTES,
            description: "The routes by path.",
            examples: [{ "/hello-world": { function: "hello-world", methods: ["GET", "POST"] } }],
          },
        ),
      ),
    ),
    secrets: Type.Optional(
      Type.Array(SecretName, {
        maxItems: SECRETS,
        uniqueItems: true,
        description: "The names of secrets that must be there; their values are in no manifest.",
        examples: [["database-password"]],
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "What a server is to have. `${NAME}` and `${NAME:-default}` stand for variables, `$$` for a dollar.",
  },
);
export type Manifest = Static<typeof Manifest>;

/** How a manifest is applied; all of it may be left out. */
const switches = {
  dry_run: Type.Boolean({ description: "Tell what would change, and change nothing.", examples: [false] }),
  prune: Type.Boolean({
    description:
      "Delete the functions that have a name and the routes that the manifest does not mention. " +
      "Functions without a name stay, and so do the routes to them.",
    examples: [false],
  }),
  pull: Type.Boolean({
    description: "Pull all images anew, and move the functions to what their references mean now. A dry run does not.",
    examples: [false],
  }),
};

/** The body of `POST /v1/apply` as JSON. */
export const ApplyManifest = Type.Object(
  {
    manifest: Manifest,
    variables: Type.Optional(
      Type.Unsafe<Environment>(
        Type.Object(
          {},
          {
            additionalProperties: Type.String(),
            description: "What `${NAME}` stands for in the manifest.",
            examples: [{ TAG: "1.4" }],
          },
        ),
      ),
    ),
    ...Type.Partial(Type.Object(switches)).properties,
  },
  { additionalProperties: false },
);
export type ApplyManifest = Static<typeof ApplyManifest>;

/** How a manifest is applied. */
export type ApplyOptions = Readonly<Record<keyof typeof switches, boolean>>;

/** What became of a function or a route, or would. */
export const ManifestChange = Type.Object({
  kind: Type.Unsafe<"function" | "route">(
    Type.Union([Type.Literal("function"), Type.Literal("route")], {
      description: "What it is.",
      examples: ["function"],
    }),
  ),
  name: Type.String({ description: "The name of the function, or the path of the route.", examples: ["hello-world"] }),
  action: Type.Unsafe<"created" | "updated" | "deleted" | "unchanged">(
    Type.Union([Type.Literal("created"), Type.Literal("updated"), Type.Literal("deleted"), Type.Literal("unchanged")], {
      description: "What was done, or would be.",
      examples: ["updated"],
    }),
  ),
  fields: Type.Unsafe<Record<string, FieldChange>>(
    Type.Object(
      {},
      {
        additionalProperties: Type.Object({
          from: Type.Unknown({ description: "What it was.", examples: [30_000] }),
          to: Type.Unknown({ description: "What it is, or would be.", examples: [5_000] }),
        }),
        description:
          "What is another in one that was updated. Variables of the environment are named one by one " +
          "(`environment/GREETING`), and their values are not shown: `***` is one, null is none.",
        examples: [{ timeout_ms: { from: 30_000, to: 5_000 } }],
      },
    ),
  ),
});
export type ManifestChange = Static<typeof ManifestChange>;

/** A field that was, and is, or would be. */
export interface FieldChange {
  readonly from: unknown;
  readonly to: unknown;
}

/** The answer of `POST /v1/apply`. */
export const AppliedManifest = Type.Object({
  changes: Type.Array(ManifestChange, {
    description: "Functions, then routes, as the manifest has them; then the routes and functions that were deleted.",
  }),
  dry_run: Type.Boolean({ description: "Whether nothing was done.", examples: [false] }),
});
export type AppliedManifest = Static<typeof AppliedManifest>;

/** Throws `invalid_request` for a key of `functions` that can be no name. */
export function checkManifestName(name: string): void {
  const fits: boolean = Value.Check(FunctionName, name);
  if (!fits) {
    const shown = JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}...` : name);
    throw new AppError(
      "invalid_request",
      `Invalid name ${shown} in "functions": it must be ${expectation(FunctionName)}`,
    );
  }
  checkFunctionName(name);
}

/**
 * Functions by what a manifest calls them: their name. One without a name is called after its id, so that it can be
 * exported; applied to another server, that becomes its name.
 */
export function byManifestName(functions: readonly Function[]): Map<string, Function> {
  const found = new Map<string, Function>();
  for (const fn of functions) if (fn.name !== null) found.set(fn.name, fn);
  for (const fn of functions) {
    if (fn.name !== null) continue;
    // Ids of older databases may be anything.
    const id = /^[a-z0-9-]{1,40}$/.test(fn.id) ? fn.id : Bun.hash.xxHash64(fn.id).toString(16);
    let name = `unnamed-${id}`;
    while (found.has(name)) name += "0";
    found.set(name, fn);
  }
  return found;
}

import { Type, type Static } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Environment } from "../environment.ts";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { expectation } from "../schema-words.ts";
import { checkFunctionName, CreateFunction, type Function } from "../functions/functions.ts";
import { FunctionName } from "../functions/settings.ts";
import { FUNCTIONS, ROUTES, SECRETS } from "../limits.ts";
import { GIVEN_ROUTE_OPTIONS } from "../routes/options.ts";
import { SecretName } from "../secrets.ts";
import { Enum, Flag } from "../types.ts";

/** A function in a manifest: what `POST /v1/functions` takes, less its name and what is for that request alone. */
const ManifestFunction = Type.Omit(CreateFunction, ["name", "probe"], {
  additionalProperties: false,
  description: "The image and the settings; settings that are left out have the defaults of a new function.",
});
export type ManifestFunction = Static<typeof ManifestFunction>;

/** A route in a manifest: what `POST /v1/routes` takes, less its path. */
const ManifestRoute = Type.Object(
  {
    function: Type.String({
      minLength: 1,
      maxLength: FunctionName.maxLength ?? 0,
      pattern: FunctionName.pattern ?? "",
      description: "The name of a function in this manifest or on the server.",
      examples: ["hello-world"],
    }),
    ...GIVEN_ROUTE_OPTIONS,
  },
  {
    additionalProperties: false,
    description: "The function and the options; options that are left out have the defaults of a new route.",
  },
);
export type ManifestRoute = Static<typeof ManifestRoute>;

/** The functions and routes that a server should have: `slipway.yaml`. */
export const Manifest = Type.Object(
  {
    version: Type.Literal(1, { description: "The version of this format.", examples: [1] }),
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
            description: "The routes by path; those with `hosts` by the first of them.",
            examples: [{ "/hello-world": { function: "hello-world", methods: ["GET", "POST"] } }],
          },
        ),
      ),
    ),
    secrets: Type.Optional(
      Type.Array(SecretName, {
        maxItems: SECRETS,
        uniqueItems: true,
        description: "The names of secrets that must exist; a manifest never contains their values.",
        examples: [["database-password"]],
      }),
    ),
  },
  {
    additionalProperties: false,
    description:
      "The functions and routes that a server should have. `${NAME}` and `${NAME:-default}` stand for variables, `$$` for a dollar.",
  },
);
export type Manifest = Static<typeof Manifest>;

/** The options of applying a manifest; all may be left out. */
const switches = {
  dry_run: Flag("Only report what would change."),
  prune: Flag(
    "Delete named functions and routes that the manifest does not mention. " +
      "Unnamed functions and the routes to them stay.",
  ),
  pull: Flag(
    "Pull all images again, and move the functions to the images that their references now name. A dry run pulls nothing.",
  ),
  probe: Flag(
    "Try out the functions of the contract `http` that change, and say in the `warnings` of their changes why they do not listen; " +
      "true unless it is given.",
  ),
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
            description: "Values for `${NAME}` in the manifest.",
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

/** The options of applying a manifest. */
export type ApplyOptions = Readonly<Record<Exclude<keyof typeof switches, "probe">, boolean>> & {
  /** True by default. */
  readonly probe?: boolean;
};

/** A change of a function or a route; in a dry run, one that would be made. */
export const ManifestChange = Type.Object({
  kind: Enum(["function", "route"], { description: "The kind of record.", examples: ["function"] }),
  name: Type.String({ description: "The name of the function, or the path of the route.", examples: ["hello-world"] }),
  action: Enum(["created", "updated", "deleted", "unchanged"], {
    description: "What was done or, in a dry run, would be.",
    examples: ["updated"],
  }),
  fields: Type.Unsafe<Record<string, FieldChange>>(
    Type.Object(
      {},
      {
        additionalProperties: Type.Object({
          from: Type.Unknown({ description: "The value before.", examples: [30_000] }),
          to: Type.Unknown({ description: "The value after.", examples: [5_000] }),
        }),
        description:
          "The fields that differ in an updated record. Variables of the environment are listed one by one " +
          "(`environment/GREETING`) without their values: `***` for a value, null for none.",
        examples: [{ timeout_ms: { from: 30_000, to: 5_000 } }],
      },
    ),
  ),
  warnings: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "Why a function that was created or updated would not serve a call as it is, although it was saved; as in the answer " +
        "to `POST /v1/functions`. Only there if something is wrong, and not in a dry run.",
      examples: [
        [
          "The function was saved, but it does not run: it ended before it listened on port 8080, with exit code 1: Error: DATABASE_URL is not set",
        ],
      ],
    }),
  ),
});
export type ManifestChange = Static<typeof ManifestChange>;

/** The values of a field before and after a change. */
export interface FieldChange {
  readonly from: unknown;
  readonly to: unknown;
}

/** The answer of `POST /v1/apply`. */
export const AppliedManifest = Type.Object({
  changes: Type.Array(ManifestChange, {
    description: "Functions, then routes, in the order of the manifest; then deleted routes and functions.",
  }),
  dry_run: Flag("Whether this was a dry run, which changes nothing."),
});
export type AppliedManifest = Static<typeof AppliedManifest>;

/** Throws `invalid_request` for a key of `functions` that is not a valid name. */
export function checkManifestName(name: string): void {
  const fits: boolean = Value.Check(FunctionName, name);
  if (!fits) {
    throw new AppError(
      "invalid_request",
      `Invalid name ${quoted(name)} in "functions": it must be ${expectation(FunctionName)}`,
    );
  }
  checkFunctionName(name);
}

/**
 * Maps functions by their names in a manifest. An unnamed function gets a name made from its id, so that it can be
 * exported; on another server that becomes its name.
 */
export function byManifestName(functions: readonly Function[]): Map<string, Function> {
  const found = new Map<string, Function>();
  for (const fn of functions) if (fn.name !== null) found.set(fn.name, fn);
  for (const fn of functions) {
    if (fn.name !== null) continue;
    // The ids in older databases can be any text.
    const id = /^[a-z0-9-]{1,40}$/.test(fn.id) ? fn.id : Bun.hash.xxHash64(fn.id).toString(16);
    let name = `unnamed-${id}`;
    while (found.has(name)) name += "0";
    found.set(name, fn);
  }
  return found;
}

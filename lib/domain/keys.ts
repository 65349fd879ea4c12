import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "./errors.ts";
import { NAME_LENGTH } from "./limits.ts";
import { Nullable, Timestamp } from "./types.ts";

/** What a key may do. */
export const SCOPES = ["admin", "deploy", "read", "invoke"] as const;
export type Scope = (typeof SCOPES)[number];

const ScopeName = Type.Unsafe<Scope>(
  Type.Union(
    SCOPES.map((scope) => Type.Literal(scope)),
    {
      description:
        "`admin`: everything, keys included. `deploy`: reads and changes functions, routes, secrets and registries. " +
        "`read`: reads everything but keys, logs and metrics included. `invoke`: calls functions.",
      examples: ["deploy"],
    },
  ),
);

/** What is told of a key: never its token. */
export const Key = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["c3a1f0de-5b5c-4f0e-8f43-2d1f6f0b7a90"] }),
  name: Type.String({
    // No control characters: the name stands in messages and logs.
    pattern: "^[^\\u0000-\\u001f\\u007f]+$",
    minLength: 1,
    maxLength: NAME_LENGTH,
    description: `What the key is for, to tell it from others; at most ${NAME_LENGTH} characters. It need not be unique.`,
    examples: ["ci"],
  }),
  scopes: Type.Array(ScopeName, {
    minItems: 1,
    maxItems: SCOPES.length,
    uniqueItems: true,
    description: "What the key may do.",
    examples: [["deploy"]],
  }),
  function_id: Nullable(
    Type.String({
      description: "The only function that a key with the scope `invoke` may call. Null allows all.",
      examples: [null],
    }),
  ),
  created_at: Timestamp,
  expires_at: Nullable(
    Type.String({
      description: "From then on the key is refused: RFC 3339. Null never comes.",
      examples: ["2027-01-31T12:00:00.000Z"],
    }),
  ),
  last_used_at: Nullable(
    Type.String({
      description: "When it was last sent, written down once a minute at most. Null where it never was.",
      examples: ["2026-01-31T12:00:00.000Z"],
    }),
  ),
  revoked_at: Nullable(Type.String({ description: "When it was revoked. Null while it is good.", examples: [null] })),
});
export type Key = Static<typeof Key>;

/** The answer of `POST /v1/keys`. */
export const NewKey = Type.Composite([
  Key,
  Type.Object({
    token: Type.String({
      description: "What is sent as `Authorization: Bearer <token>`. Shown this once: the server keeps only its hash.",
      examples: ["slipway_9pJ2nV0c4bq1mT7wYxR5sZkL8aHfD3eGuIoWvQyXtNM"],
    }),
  }),
]);
export type NewKey = Static<typeof NewKey>;

/** The body of `POST /v1/keys`. */
export const CreateKey = Type.Composite(
  [Type.Pick(Key, ["name", "scopes"]), Type.Partial(Type.Pick(Key, ["function_id", "expires_at"]))],
  { additionalProperties: false },
);
export type CreateKey = Static<typeof CreateKey>;

/** Throws `invalid_request` for a limit to one function that would not limit what the other scopes allow. */
export function checkFunctionLimit({ scopes, function_id }: Pick<CreateKey, "scopes" | "function_id">): void {
  if (function_id === undefined || function_id === null || scopes.every((scope) => scope === "invoke")) return;
  throw new AppError(
    "invalid_request",
    'A key for one function has the scope "invoke" alone: leave the other scopes out, or "function_id"',
  );
}

/** Who sends a request, as far as its key tells. */
export interface Caller {
  /** The id of the key that was sent: `server` for the server's own, null for a request without one. */
  readonly key_id: string | null;
  readonly scopes: readonly Scope[];
  /** The only function that it may call, where there is such a limit. */
  readonly function_id: string | null;
}

/** Whoever sends the server's own key, or may do without one (DESIGN.md section 7). */
export function administrator(keyId: string | null): Caller {
  return { key_id: keyId, scopes: ["admin"], function_id: null };
}

/** Throws `forbidden` for a caller that has none of these scopes, each of which is enough; `admin` always is. */
export function checkScope(caller: Caller, needed: readonly Scope[]): void {
  if (caller.scopes.some((scope) => scope === "admin" || needed.includes(scope))) return;
  throw new AppError(
    "forbidden",
    `This needs a key with the scope ${listed(needed.includes("admin") ? needed : [...needed, "admin"], "or")}, ` +
      `but yours has ${listed(caller.scopes, "and")}: an administrator can make another with POST /v1/keys`,
  );
}

/** Throws `forbidden` for a caller whose key is for another function alone. */
export function checkFunction(caller: Caller, functionId: string): void {
  if (caller.function_id === null || caller.function_id === functionId) return;
  throw new AppError(
    "forbidden",
    `This key calls the function "${caller.function_id}" alone: send a key that is for this one, or for all`,
  );
}

function listed(scopes: readonly Scope[], word: "and" | "or"): string {
  const quoted = scopes.map((scope) => `"${scope}"`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} ${word} ${quoted.at(-1)}`;
}

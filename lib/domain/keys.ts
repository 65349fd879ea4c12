import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "./errors.ts";
import { NAME_LENGTH } from "./limits.ts";
import { Enum, Nullable, Timestamp } from "./types.ts";

/** The rights that a key can have. */
export const SCOPES = ["admin", "deploy", "read", "invoke"] as const;
export type Scope = (typeof SCOPES)[number];

const ScopeName = Enum(SCOPES, {
  description:
    "`admin`: everything, keys included. `deploy`: reads and changes functions, routes, secrets and registries. " +
    "`read`: reads everything except keys, logs and metrics included. `invoke`: calls functions.",
  examples: ["deploy"],
});

/** The record of a key, without its token. */
export const Key = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["c3a1f0de-5b5c-4f0e-8f43-2d1f6f0b7a90"] }),
  name: Type.String({
    // No control characters: the name appears in messages and logs.
    pattern: "^[^\\u0000-\\u001f\\u007f]+$",
    minLength: 1,
    maxLength: NAME_LENGTH,
    description: `What the key is for; at most ${NAME_LENGTH} characters. It need not be unique.`,
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
      description: "The only function that a key with the scope `invoke` may call; null allows all.",
      examples: [null],
    }),
  ),
  created_at: Timestamp,
  expires_at: Nullable(
    Type.String({
      description: "When the key expires (RFC 3339); null if never.",
      examples: ["2027-01-31T12:00:00.000Z"],
    }),
  ),
  last_used_at: Nullable(
    Type.String({
      description: "When the key was last used, recorded at most once a minute; null if never.",
      examples: ["2026-01-31T12:00:00.000Z"],
    }),
  ),
  revoked_at: Nullable(Type.String({ description: "When the key was revoked; null if it was not.", examples: [null] })),
});
export type Key = Static<typeof Key>;

/** The answer of `POST /v1/keys`. */
export const NewKey = Type.Object({
  ...Key.properties,
  token: Type.String({
    description: "Sent as `Authorization: Bearer <token>`. Shown only once: the server keeps only its hash.",
    examples: ["slipway_9pJ2nV0c4bq1mT7wYxR5sZkL8aHfD3eGuIoWvQyXtNM"],
  }),
});
export type NewKey = Static<typeof NewKey>;

/** The body of `POST /v1/keys`. */
export const CreateKey = Type.Object(
  {
    name: Key.properties.name,
    scopes: Key.properties.scopes,
    function_id: Type.Optional(Key.properties.function_id),
    expires_at: Type.Optional(Key.properties.expires_at),
  },
  { additionalProperties: false },
);
export type CreateKey = Static<typeof CreateKey>;

/** Throws `invalid_request` if a key for one function also has scopes that such a limit does not restrict. */
export function checkFunctionLimit({ scopes, function_id }: Pick<CreateKey, "scopes" | "function_id">): void {
  if (function_id === undefined || function_id === null || scopes.every((scope) => scope === "invoke")) return;
  throw new AppError(
    "invalid_request",
    'A key for one function can only have the scope "invoke": leave out the other scopes, or "function_id"',
  );
}

/** The sender of a request, as identified by its key. */
export interface Caller {
  /** The id of the key: `server` for the server's own, null for a request without a key. */
  readonly key_id: string | null;
  readonly scopes: readonly Scope[];
  /** The only function that the caller may call; null allows all. */
  readonly function_id: string | null;
}

/** Returns the caller for the server's own key, and for a request that needs no key: an administrator. */
export function administrator(keyId: string | null): Caller {
  return { key_id: keyId, scopes: ["admin"], function_id: null };
}

/** Returns whether a caller has one of these scopes; `admin` has them all. */
export function hasScope({ scopes }: Pick<Caller, "scopes">, needed: readonly Scope[]): boolean {
  return scopes.some((scope) => scope === "admin" || needed.includes(scope));
}

/** Throws `forbidden` for a caller that has none of these scopes; `admin` has them all. */
export function checkScope(caller: Caller, needed: readonly Scope[]): void {
  if (hasScope(caller, needed)) return;
  throw new AppError(
    "forbidden",
    `This needs a key with the scope ${listed(needed.includes("admin") ? needed : [...needed, "admin"], "or")}, ` +
      `but yours has ${listed(caller.scopes, "and")}: an administrator can make another with POST /v1/keys`,
  );
}

/** Throws `forbidden` if the caller's key is for another function. */
export function checkFunction(caller: Caller, functionId: string): void {
  if (caller.function_id === null || caller.function_id === functionId) return;
  throw new AppError(
    "forbidden",
    `This key may only call the function "${caller.function_id}": send a key for this function, or for all`,
  );
}

/** Returns whether a caller may do everything. */
export function isAdministrator({ scopes }: Pick<Caller, "scopes">): boolean {
  return scopes.includes("admin");
}

/** Throws `forbidden` unless the caller made the invocation; administrators may act on all of them. */
export function checkOwnWork(
  caller: Caller,
  { function_id, key_id }: { readonly function_id: string; readonly key_id: string | null },
): void {
  checkFunction(caller, function_id);
  if (isAdministrator(caller) || caller.key_id === key_id) return;
  throw new AppError(
    "forbidden",
    'This key may only act on invocations that were made with it: send that key, or one with the scope "admin"',
  );
}

function listed(scopes: readonly Scope[], word: "and" | "or"): string {
  const names = scopes.map((scope) => `"${scope}"`);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}`;
}

import { Type } from "@sinclair/typebox";
import { AppError } from "./errors.ts";

/** What a key may do. */
export const SCOPES = ["admin", "deploy", "read", "invoke"] as const;
export type Scope = (typeof SCOPES)[number];

/** The schema of one scope. */
export const ScopeName = Type.Unsafe<Scope>(
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

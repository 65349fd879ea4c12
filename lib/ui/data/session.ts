import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Scope } from "../../domain/keys.ts";

/** The reader of the page: the answer of `GET /ui/session`. */
export interface Session {
  /** Null if none is needed: then the reader is an administrator. */
  readonly key: { readonly id: string; readonly name: string } | null;
  readonly expires_at: string | null;
  readonly scopes: readonly Scope[];
  /** The only function that the key may call; null for all. */
  readonly function_id: string | null;
  readonly version: string;
}

/** The rights of a reader. Nothing else is shown. */
export interface Rights {
  /** Sees functions, routes, schedules, secrets and registries. */
  readonly catalogue: boolean;
  /** Sees invocations, figures and metrics. */
  readonly records: boolean;
  readonly deploy: boolean;
  readonly invoke: boolean;
  readonly admin: boolean;
}

/** Returns what the scopes of a key allow. */
export function rightsOf(scopes: readonly Scope[]): Rights {
  const has = (scope: Scope) => scopes.includes("admin") || scopes.includes(scope);
  return {
    catalogue: has("read") || has("deploy"),
    records: has("read"),
    deploy: has("deploy"),
    invoke: has("invoke"),
    admin: scopes.includes("admin"),
  };
}

export const SessionContext = createContext<Session>({
  key: null,
  expires_at: null,
  scopes: [],
  function_id: null,
  version: "",
});

/** Returns what the reader may do. */
export function useRights(): Rights {
  return rightsOf(useContext(SessionContext).scopes);
}

import type { Server } from "bun";
import { type Context, Elysia } from "elysia";
import type { Caller, Scope } from "../../domain/keys.ts";
import { parseJson, type ReadBody, refuseEncoding } from "../wire/body.ts";
import { bodyCheck } from "../wire/validation-message.ts";
import type { SlowReaders } from "../wire/slow-readers.ts";
import type { Watching } from "../wire/idle-timeouts.ts";
import type { AuditService } from "../../services/access/audit.ts";
import type { Freshness } from "../../services/cluster/freshness.ts";
import { pathOf } from "../wire/errors.ts";
import { STATUS_OF } from "../wire/status-of.ts";
import type { AccessCheck, Credentials } from "./access.ts";
import { Admittance } from "./admittance.ts";
import { shownTo } from "./callback-paths.ts";
import type { ClientAddress } from "./client-address.ts";
import { shownJson } from "./shown-json.ts";

/** The most bytes that a body of `/v1` may have, but a manifest: it is parsed and checked in one go, within milliseconds. */
const API_BODY_BYTES = 128 * 1024;

/** The same for functions and secrets, whose environment, command and values may be large. */
export const LARGE_BODY_BYTES = 1024 * 1024;

/** The scopes of a resource, each list under the name of a need. One scope of a list is enough; `admin` always is. */
type ResourceScopes<Need extends string> = Readonly<Record<Need, readonly Scope[]>>;

/** Guards the endpoints of one resource. `app.ts` makes it, with the resource's path and scopes. */
export interface Guard<Need extends string = "read" | "write"> {
  readonly prefix: string;
  readonly scopes: ResourceScopes<Need>;
  /**
   * Lets a request in whose caller has one of the scopes for this need; throws for any other. If servers share the configuration,
   * everything but a call sees what was changed before it.
   */
  readonly admit: (request: Request, need: Need) => void | Promise<void>;
  /** True if `admit` never returns a promise. */
  readonly is_prompt: boolean;
  /** Records the end of a request that was let in to change something. */
  readonly changed: (request: Request, status: number) => void;
  /** Records that a request was let in, but its key may not do just this. */
  readonly refused: (request: Request) => void;
  /** Returns the caller of a request that was let in. */
  readonly callerOf: (request: Request) => Caller;
  /** Returns what the caller of a request that was let in may see of records. */
  readonly shown: <T>(request: Request, data: T) => T;
  /** The same as JSON, for a record that never changes. */
  readonly shownJson: (request: Request, record: Readonly<Record<string, unknown>>) => string;
  readonly readBody: ReadBody;
  /** Follows an answer that may be long. */
  readonly follow: (request: Request) => void;
}

/** Makes the guards of the resources; `credentials` for those of another platform's API, whose clients send keys in their own way. */
export function createGuards(deps: {
  readonly access: AccessCheck;
  readonly server: () => Server<unknown> | null;
  readonly unwatch: Watching["unwatch"];
  readonly readBody: ReadBody;
  readonly slowReaders: Pick<SlowReaders, "follow">;
  readonly clientAddress: ClientAddress;
  readonly audit: Pick<AuditService, "changed" | "refused">;
  readonly freshness: Freshness;
}): <Need extends string>(prefix: string, scopes: ResourceScopes<Need>, credentials?: Credentials) => Guard<Need> {
  const admittance = new Admittance(deps);
  const changed = (request: Request, status: number): void => {
    const caller = admittance.callerOf(request);
    // The access check has recorded a request that it refused, if it had a key.
    if (caller === undefined) return;
    const { method, url } = request;
    const address = admittance.addressOf(request);
    deps.audit.changed({ key_id: caller.key_id, address, method, path: pathOf(url), status });
  };
  const refused = (request: Request): void => {
    const { method, url } = request;
    const address = deps.clientAddress(request, deps.server());
    const { key_id } = callerOf(request);
    deps.audit.refused({ key_id, address, method, path: pathOf(url), status: STATUS_OF.forbidden });
  };
  const callerOf = (request: Request): Caller => {
    const caller = admittance.callerOf(request);
    if (caller === undefined) throw new Error("The endpoint does not say what it needs");
    return caller;
  };
  const readBody: ReadBody = (request, limitBytes) => {
    refuseEncoding(request);
    return deps.readBody(request, limitBytes);
  };
  const follow = (request: Request): void => deps.slowReaders.follow({ request, server: deps.server() });
  const shown = <T>(request: Request, data: T): T => shownTo(callerOf(request), data);
  return (prefix, scopes, credentials) => ({
    prefix,
    scopes,
    admit: (request, need) =>
      admittance.admit(request, { scopes: scopes[need], ...(credentials && { credentials }) }, need),
    is_prompt: admittance.isPrompt,
    changed,
    refused,
    callerOf,
    shown,
    shownJson: (request, record) => shownJson(callerOf(request), record),
    readBody,
    follow,
  });
}

/** A request that was answered, with what its handler or the error handler returned. */
interface Ended extends Pick<Context, "request" | "set"> {
  readonly responseValue?: unknown;
}

/** The options of an endpoint, as far as its guard reads and completes them. */
interface EndpointOptions {
  readonly body?: unknown;
  detail?: object;
  parse?: (context: Pick<Context, "request">) => Promise<unknown>;
}

/**
 * Begins a resource. Each endpoint says what it `needs`: one of the names in the guard's scopes. A HEAD needs what the GET
 * does. The resource checks access itself, so a path such as `/r/../v1/functions` is also checked, before anything of
 * the request is read: Elysia parses a body before it transforms, so the reader of the body checks first. A body is
 * JSON whatever its content type says; without a schema for it, it is not read. An answer that can have more than
 * `LONG_ANSWER_BYTES`, or take its time, is marked as `long`, so that slow readers get it whole.
 */
export function resource<Need extends string>(guard: Guard<Need>, tag: string, bodyBytes = API_BODY_BYTES) {
  const { prefix, scopes, admit, is_prompt, changed, readBody, follow } = guard;
  const tagged = new Elysia({ prefix, detail: { tags: [tag] }, normalize: false });
  const followed = tagged.macro("long", { afterHandle: ({ request }: Pick<Context, "request">) => follow(request) });
  return followed.macro("needs", (need: Need) => ({
    transform: is_prompt
      ? atOnce(({ request }: Pick<Context, "request">) => void admit(request, need))
      : async ({ request }: Pick<Context, "request">) => {
          await admit(request, need);
        },
    ...(need === "write" && {
      afterResponse: atOnce(({ request, set, responseValue }: Ended) =>
        changed(request, responseValue instanceof Response ? responseValue.status : Number(set.status ?? 200)),
      ),
    }),
    introspect: (options: EndpointOptions) => {
      options.detail = { ...options.detail, "x-scopes": scopes[need] };
      if (options.body === undefined) return;
      const checkBody = bodyCheck(options.body);
      options.parse = async ({ request }) => {
        await admit(request, need);
        return checkBody(parseJson(await readBody(request, bodyBytes)));
      };
    },
  }));
}

/**
 * Marks a hook as one that returns no promise. Elysia (1.4) reads its source to find out, takes the call of any function
 * for a promise, and then awaits. Its types do not know that a hook can be an object, which is what it makes of a function.
 */
function atOnce<C>(fn: (context: C) => void): (context: C) => void {
  return { fn, isAsync: false, hasReturn: false } as unknown as typeof fn;
}

/** The parts of an Elysia route that show whether it is guarded. */
interface GuardedRoute {
  readonly method: string;
  readonly path: string;
  readonly hooks: { readonly detail?: unknown };
}

/** Throws if an endpoint neither says what it needs nor has one of the `open` paths. */
export function checkGuarded(routes: readonly GuardedRoute[], open: readonly string[]): void {
  const bare = routes.filter(({ path, hooks }) => !open.includes(path) && scopesIn(hooks.detail) === undefined);
  if (bare.length === 0) return;
  const named = bare.map(({ method, path }) => `${method} ${path}`).join(", ");
  throw new Error(`No scopes for ${named}: say what it needs`);
}

/** Returns the scopes in the `detail` of a route; undefined for a route without a guard. */
function scopesIn(detail: unknown): readonly unknown[] | undefined {
  const scopes = detail !== null && typeof detail === "object" && "x-scopes" in detail ? detail["x-scopes"] : undefined;
  return Array.isArray(scopes) ? scopes : undefined;
}

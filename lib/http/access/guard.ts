import { type Context, Elysia } from "elysia";
import type { Caller, Scope } from "../../domain/keys.ts";
import type { Needs } from "./access.ts";
import { parseJson, type ReadBody } from "../wire/body.ts";
import type { Watching } from "../wire/idle-timeouts.ts";

/** Bodies of `/v1` are small, but a wrong one deserves an answer that says what is wrong with it, not only that it is large. */
export const API_BODY_BYTES = 6 * 1024 * 1024;

/** The scopes that a part of the API asks for; of each list one is enough, and `admin` always is. */
export interface Scopes {
  /** For GET and HEAD. */
  readonly read: readonly Scope[];
  /** For everything else. */
  readonly write: readonly Scope[];
}

/** What every request of one part of the API meets before a handler: who may, and how its body is read. */
export interface Intake {
  readonly scopes: Scopes;
  /** Tells who sends a request; throws unless he may do what its method does here. */
  readonly access: (request: Request) => Caller;
  readonly unwatch: Watching["unwatch"];
  readonly readBody: ReadBody;
}

/** What the parts of the API share. */
export interface Reception extends Pick<Intake, "unwatch" | "readBody"> {
  readonly access: (request: Request, needs: Needs) => Caller;
}

/** Makes the intakes of the parts of the API: `app.ts` says for each what scopes it asks for, and nothing is without. */
export function createIntakes({ access, unwatch, readBody }: Reception): (scopes: Scopes) => Intake {
  return (scopes) => {
    const needs = { read: { scopes: scopes.read }, write: { scopes: scopes.write } };
    return {
      ...{ scopes, unwatch, readBody },
      access: (request) => access(request, isRead(request.method) ? needs.read : needs.write),
    };
  };
}

function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/**
 * What the resources of `/v1` share: the access check, made by each resource's own instance (a path such as
 * `/r/../v1/functions` reaches it too), before anything of the request is read.
 */
export function resource(options: { prefix: string; tag: string; intake: Intake }) {
  const { access, scopes, unwatch } = options.intake;
  const { prefix, tag } = options;
  return new Elysia({ prefix, detail: { tags: [tag], ...scopeDetail(scopes) }, normalize: false }).onTransform(
    ({ request }) => {
      access(request);
      // A pull may take minutes without a byte on this connection.
      unwatch(request);
    },
  );
}

/** What the documentation makes of an endpoint's scopes, for the `detail` of one that no `resource` holds. */
export function scopeDetail(scopes: Scopes) {
  return { "x-scopes": scopes };
}

/**
 * The `parse` of an endpoint with a body: JSON whatever the content type says. Elysia parses before it transforms, so
 * the access check comes first here, too. Elsewhere a body is not read at all.
 */
export function jsonBody({ access, readBody }: Intake) {
  return async ({ request }: Pick<Context, "request">): Promise<unknown> => {
    access(request);
    return parseJson(await readBody(request, API_BODY_BYTES));
  };
}

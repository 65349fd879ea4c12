import type { Server } from "bun";
import { type Context, Elysia } from "elysia";
import type { Caller, Scope } from "../domain/keys.ts";
import type { Access } from "./access.ts";
import { parseJson, type ReadBody } from "./body.ts";
import { unwatch } from "./patience.ts";

/** Bodies of `/v1` are small, but a wrong one deserves an answer that says what is wrong with it, not only that it is large. */
const API_BODY_BYTES = 6 * 1024 * 1024;

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
  readonly readBody: ReadBody;
  /** Throws unless the sender of this request may do what its method does here. */
  readonly access: (request: Request, server: Server<unknown> | null) => Caller;
}

/** Makes the intakes of the parts of the API: `app.ts` says for each what scopes it asks for, and nothing is without. */
export function createIntakes(shared: { access: Access; readBody: ReadBody }): (scopes: Scopes) => Intake {
  return (scopes) => ({
    scopes,
    readBody: shared.readBody,
    access: (request, server) => shared.access(request, server, { scopes: neededBy(request.method, scopes) }),
  });
}

/** The scopes that a request with this method needs. */
export function neededBy(method: string, { read, write }: Scopes): readonly Scope[] {
  return method === "GET" || method === "HEAD" ? read : write;
}

/**
 * What the resources of `/v1` share: the access check, made by each resource's own instance (a path such as
 * `/r/../v1/functions` reaches it too), before anything of the request is read.
 */
export function resource(options: { prefix: string; tag: string; intake: Intake }) {
  const { access, scopes } = options.intake;
  const { prefix, tag } = options;
  return new Elysia({ prefix, detail: { tags: [tag], ...scopeDetail(scopes) }, normalize: false }).onTransform(
    ({ request, server }) => {
      access(request, server);
      // A pull may take minutes without a byte on this connection.
      unwatch(request, server);
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
  return async ({ request, server }: Pick<Context, "request" | "server">): Promise<unknown> => {
    access(request, server);
    return parseJson(await readBody(request, server, API_BODY_BYTES));
  };
}

import { type Context, Elysia } from "elysia";
import { parseJson, type ReadBody } from "./body.ts";
import type { Watching } from "./patience.ts";

/** Bodies of `/v1` are small, but a wrong one deserves an answer that says what is wrong with it, not only that it is large. */
const API_BODY_BYTES = 6 * 1024 * 1024;

/** What every request meets before a handler: who may, and how its body is read. */
export interface Intake {
  /** Lets a request pass or throws (access.ts). */
  readonly access: (request: Request) => void;
  readonly unwatch: Watching["unwatch"];
  readonly readBody: ReadBody;
}

/**
 * What the resources of `/v1` share: the access check, made by each resource's own instance (a path such as
 * `/r/../v1/functions` reaches it too), before anything of the request is read.
 */
export function resource(options: { prefix: string; tag: string; intake: Intake }) {
  const { access, unwatch } = options.intake;
  return new Elysia({ prefix: options.prefix, tags: [options.tag], normalize: false }).onTransform(({ request }) => {
    access(request);
    // A pull may take minutes without a byte on this connection.
    unwatch(request);
  });
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

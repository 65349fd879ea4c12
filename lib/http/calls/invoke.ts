import type { Server } from "bun";
import { t } from "elysia";
import { publicError } from "../../domain/calls/public-message.ts";
import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import { checkFunction, hasScope } from "../../domain/keys.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { Target } from "../../services/calls/record.ts";
import { type ClientAddress, clientOf } from "../access/client-address.ts";
import { type BodyMemory, expectedBytes } from "./body-memory.ts";
import type { ReadBody } from "../wire/body.ts";
import { answerResponse } from "./answer.ts";
import { type CallPath, functionRequest } from "./request.ts";
import type { RequestId } from "../wire/errors.ts";
import { LONG_ANSWER_BYTES, type SlowReaders } from "../wire/slow-readers.ts";
import { callDetail } from "../openapi/calls.ts";
import { type Guard, resource } from "../access/guard.ts";
import { type Asked, SubmissionQuery, type Submissions } from "./submit.ts";

/** The dependencies of both ways to call a function. */
export interface Calls {
  readonly invocations: InvocationService;
  readonly submissions: Submissions;
  readonly readBody: ReadBody;
  readonly bodyMemory: BodyMemory;
  readonly requestId: RequestId;
  readonly slowReaders: SlowReaders;
  readonly server: () => Server<unknown> | null;
  readonly clientAddress: ClientAddress;
  /** The largest request body. */
  readonly request_bytes: number;
}

/** A function to call, however its caller came to it. */
interface Called {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly path: CallPath;
  /** Queues the call if its sender wants that; undefined if it cannot be asynchronous. */
  readonly submission?: Asked | undefined;
  /** True if the caller may read the record of its call. */
  readonly may_read: boolean;
}

/** The path of a call without a route: its key, if it has one, was for this server. */
const WITHOUT_ROUTE: CallPath = { path: "/", path_rest: null, route: null, keyed: true };

/** `POST /v1/functions/:id/invoke`: a call without a route, for callers that may use `/v1`. */
export function invokeRoutes(guard: Guard<"invoke">, functions: FunctionService, calls: Calls) {
  return resource(guard, "calls").post(
    "/:id/invoke",
    async ({ request, set, params: { id }, query }) => {
      const fn = functions.get(id);
      const caller = guard.callerOf(request);
      checkFunction(caller, fn.id);
      const target = { function: fn, route_id: null, key_id: caller.key_id };
      // The sender knows the URL that it has sent.
      const shown = (record: Invocation) =>
        record.callback_url === query.callback_url ? record : guard.shown(request, record);
      const submission = { query, caller, shown };
      const may_read = hasScope(caller, ["read"]);
      const called = { id: calls.requestId(set), target, path: WITHOUT_ROUTE, submission, may_read };
      return call(calls, request, called).catch((error: unknown) => {
        throw may_read ? error : publicError(error);
      });
    },
    {
      needs: "invoke",
      query: SubmissionQuery,
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
    },
  );
}

/** Calls a function for a request that was admitted. The answer is the function's own, or says why there is none. */
export async function call(
  { invocations, submissions, readBody, bodyMemory, slowReaders, server, clientAddress, request_bytes }: Calls,
  request: Request,
  { id, target, path, submission, may_read }: Called,
): Promise<Response> {
  const client = () => clientOf(clientAddress(request, server()) ?? "");
  const room = bodyMemory.take(expectedBytes(request, request_bytes), client);
  try {
    const body = await readBody(request, request_bytes);
    bodyMemory.shrink(room, body.length);
    const asked = { id, target, request: functionRequest(request, clientAddress(request, server()), path, body) };
    const taken = submission && (await submissions.take(request, asked, submission));
    if (taken !== undefined) return taken;
    const answer = await invocations.invoke({ ...asked, signal: request.signal });
    const bytes = answer.response?.body instanceof Uint8Array ? answer.response.body.length : 0;
    if (bytes >= LONG_ANSWER_BYTES) {
      const sent = bodyMemory.take(bytes, client);
      bodyMemory.releaseWhenOut(sent, () => server()?.requestIP(request) === null);
    }
    if (answer.response !== null && (isLong(answer.response) || request.signal.aborted)) {
      slowReaders.follow({ request, server: server(), onUndelivered: (why) => invocations.undelivered(id, why) });
    }
    return answerResponse(answer, { accept: request.headers.get("accept"), may_read });
  } finally {
    bodyMemory.release(room);
  }
}

function isLong({ body }: FunctionResponse): boolean {
  return !(body instanceof Uint8Array) || body.length >= LONG_ANSWER_BYTES;
}

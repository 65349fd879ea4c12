import { Elysia } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { encodeAnswer } from "../../services/cluster/wire/hop-answer.ts";
import { type CheckedRequest, HOP_PATH, REFUSAL_HEADER } from "../../services/cluster/hop-signature.ts";
import type { ReceivedHops } from "../../services/cluster/received-hops.ts";
import { expectedBytes } from "./body-memory.ts";
import type { CallDeps } from "./invoke.ts";

/** The most that a message has besides the body of its call, in bytes: names, the URL and all headers as JSON. */
const HEAD_BYTES = 1024 * 1024;

/** `POST /cluster/calls`: a call that another server of the database passes on. It is let in by its signature alone. */
export function hopRoutes(hops: ReceivedHops | undefined, calls: CallDeps) {
  const app = new Elysia();
  // Without other servers there is no such path.
  if (hops === undefined) return app;
  const { bodyMemory, readBody, request_bytes, slowReaders, server } = calls;
  const accept = async (request: Request, hop: CheckedRequest): Promise<Response> => {
    if (hop.isForPredecessor) throw new AppError("conflict", "This call was for an earlier process of this server");
    const limit = request_bytes + HEAD_BYTES;
    const room = bodyMemory.take(expectedBytes(request, limit), () => "another server");
    try {
      const message = await readBody(request, limit);
      bodyMemory.shrink(room, message.length);
      hop.checkBody(message);
      const call = await hops.run(message, request.signal);
      void call.answering.catch(() => undefined).finally(() => bodyMemory.release(room));
      // Its reader may wait for the function for long.
      slowReaders.follow({ request, server: server(), onUndelivered: () => undefined });
      return new Response(encodeAnswer(call, hop.seal), { headers: { "Content-Type": "application/octet-stream" } });
    } catch (error) {
      bodyMemory.release(room);
      throw error;
    }
  };
  return app.post(
    HOP_PATH,
    async ({ request, set }) => {
      const hop = hops.check(request);
      try {
        return await accept(request, hop);
      } catch (error) {
        // Nothing of the call is left here. The server that has sent it believes that of this one only.
        set.headers[REFUSAL_HEADER] = hop.seal.refusal;
        throw error;
      }
    },
    { parse: "none", detail: { hide: true } },
  );
}

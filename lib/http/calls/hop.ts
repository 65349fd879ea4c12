import { Elysia } from "elysia";
import { encodeAnswer } from "../../services/cluster/hop-message.ts";
import { HOP_PATH } from "../../services/cluster/hop-signature.ts";
import { READY_CALLS_HEADER } from "../../services/cluster/hops.ts";
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
  return app.post(
    HOP_PATH,
    async ({ request }) => {
      const checkBody = hops.check(request);
      const limit = request_bytes + HEAD_BYTES;
      const room = bodyMemory.take(expectedBytes(request, limit), () => "another server");
      try {
        const message = await readBody(request, limit);
        bodyMemory.shrink(room, message.length);
        checkBody(message);
        const { answering, readyCalls } = await hops.run(message, request.signal);
        void answering.catch(() => undefined).finally(() => bodyMemory.release(room));
        // Its reader may wait for the function for long.
        slowReaders.follow({ request, server: server(), onUndelivered: () => undefined });
        const headers = { "Content-Type": "application/octet-stream", [READY_CALLS_HEADER]: String(readyCalls) };
        return new Response(encodeAnswer(answering), { headers });
      } catch (error) {
        bodyMemory.release(room);
        throw error;
      }
    },
    { parse: "none", detail: { hide: true } },
  );
}

import { Elysia } from "elysia";
import type { Clock } from "../../clock.ts";
import { OUTPUT_PATH, type SharedOutput, signedLines } from "../../services/cluster/shared-output.ts";
import { textStream } from "../wire/event-stream.ts";
import type { CallDeps } from "./invoke.ts";

/** The most bytes of the id of an invocation. */
const ID_BYTES = 1024;
/** Signed lines of JSON; an empty one says that the server is still there. */
const LINES = { type: "text/plain", beat: "\n" } as const;

interface OutputTools extends Pick<CallDeps, "readBody" | "slowReaders" | "server"> {
  readonly clock: Clock;
}

/** `POST /cluster/output`: what an invocation prints, for a server where someone follows it. It is let in by its signature alone. */
export function outputRoutes(output: SharedOutput | undefined, tools: OutputTools) {
  const app = new Elysia();
  // Without other servers there is no such path.
  if (output === undefined) return app;
  const { readBody, slowReaders, server, clock } = tools;
  return app.post(
    OUTPUT_PATH,
    async ({ request }) => {
      const { seal, checkBody } = output.check(request);
      const body = await readBody(request, ID_BYTES);
      checkBody(body);
      const id = Buffer.from(body).toString();
      await output.requireHere(id);
      slowReaders.follow({ request, server: server(), onUndelivered: () => undefined });
      return textStream(clock, LINES, (sink) =>
        output.follow(id, {
          pass: (entries, past) => {
            for (const line of signedLines(entries, seal)) sink.write(`${line}\n`, past);
          },
          end: () => sink.end(),
        }),
      );
    },
    { parse: "none", detail: { hide: true } },
  );
}

import { t } from "elysia";
import type { Clock } from "../../clock.ts";
import type { FunctionOutput } from "../../domain/calls/views/function-logs.ts";
import { AppError } from "../../domain/errors.ts";
import { checkNamespace } from "../../domain/openfaas/deployment.ts";
import { CallLines, leftOut, type LogMessage } from "../../domain/openfaas/log-messages.ts";
import { quoted } from "../../domain/quoted.ts";
import { readTime } from "../../domain/types.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { OpenStreams } from "../access/open-streams.ts";
import { type Guard, resource } from "../access/guard.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { textStream } from "../wire/event-stream.ts";
import { failing, OPENFAAS_TAG } from "./documented.ts";
import { namespaced, type SYSTEM_SCOPES } from "./functions.ts";
import { functionNamed } from "./names.ts";
import { type AskedLogs, lineOf, PAST, PAST_CALLS, pastText } from "./past-logs.ts";

/** The services that know what functions print. */
export interface LogTools {
  readonly functions: FunctionService;
  readonly invocations: InvocationService;
  readonly results: ResultService;
  readonly clock: Clock;
  readonly openStreams: OpenStreams;
}

/** The calls whose lines have no end yet that are remembered while they run; of more, those that printed first are not waited for. */
const BEGUN_CALLS = 200;

const query = t.Object({
  name: t.String({ description: "The name of the function.", examples: ["figlet"] }),
  ...namespaced.properties,
  follow: t.Optional(
    t.String({ description: "`true`: also send what is printed from now on, until the client leaves." }),
  ),
  since: t.Optional(
    t.String({
      description: `Only of calls from this time on; of the latest ${PAST_CALLS.usual} by default.`,
      examples: ["2026-01-31T12:00:00Z"],
    }),
  ),
  tail: t.Optional(t.String({ description: "Only so many of the past lines; all with 0 or -1.", examples: ["20"] })),
  instance: t.Optional(t.String({ description: "Only of this invocation." })),
});

/** `/system/logs`: what a function prints, as lines of JSON. */
export function logRoutes(guard: Guard<keyof typeof SYSTEM_SCOPES>, tools: LogTools) {
  return resource(guard, OPENFAAS_TAG).get(
    "/logs",
    async ({ query: { name, namespace, follow, since, tail, instance }, request }) => {
      checkNamespace(namespace);
      const fn = tools.functions.get(functionNamed(name));
      const asked = {
        function_id: fn.id,
        name: fn.name ?? fn.id,
        since: since === undefined || since === "" ? undefined : readTime("since", since),
        lines: linesIn(tail),
        instance: instance === "" ? undefined : instance,
      };
      const leave = tools.openStreams.enter(guard.callerOf(request).key_id);
      try {
        return /^(?:true|1|t)$/i.test(follow ?? "")
          ? following(tools, asked, leave)
          : streamed(await pastText(tools, asked, request.signal), leave);
      } catch (error) {
        leave();
        throw error;
      }
    },
    {
      needs: "logs",
      long: true,
      query,
      detail: {
        operationId: "openfaasGetLogs",
        summary: "Follow what a function prints",
        description:
          `Lines of JSON: \`name\`, \`namespace\`, \`instance\` (the id of the invocation), \`timestamp\` and \`text\`. At most the latest ` +
          `${PAST.lines} lines with ${PAST.characters / 2 ** 20} Mi characters of the latest ${PAST_CALLS.most} calls; ` +
          "with `follow` the past is that of the latest 10 calls. While it follows, there is an empty line every 5 s.",
        responses: {
          200: {
            description: "The lines.",
            headers: REQUEST_ID_HEADER,
            content: { "application/x-ndjson": { schema: { type: "string" as const } } },
          },
          ...failing(400, 404, 503),
        },
      },
    },
  );
}

function linesIn(tail: string | undefined): number | undefined {
  if (tail === undefined || tail === "" || tail === "0" || tail === "-1") return undefined;
  if (/^\d{1,9}$/.test(tail)) return Number(tail);
  throw new AppError("invalid_request", `Invalid "tail" ${quoted(tail)}: give a number of lines`);
}

const NDJSON = { type: "application/x-ndjson", beat: "\n" } as const;

/** Answers with text that is made as it is read. */
function streamed(text: AsyncGenerator<string>, leave: () => void): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          const next = await text.next();
          if (next.done !== true) return controller.enqueue(encoder.encode(next.value));
          controller.close();
          leave();
        } catch (error) {
          leave();
          throw error;
        }
      },
      cancel: async () => {
        leave();
        await text.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "Content-Type": NDJSON.type } });
}

function following(tools: LogTools, asked: AskedLogs, leave: () => void): Response {
  return textStream(tools.clock, NDJSON, (sink) => {
    let isOpen = true;
    let unfollow = (): void => undefined;
    const output = new Lines(asked, tools.clock);
    let past: LogMessage[] | undefined = [];
    const listen = (piece: FunctionOutput) => {
      const messages = output.take(piece);
      if (past === undefined) for (const message of messages) sink.write(lineOf(message));
      else past = past.concat(messages);
    };
    tools.results.followFunction(asked.function_id, listen).then(
      (stop) => {
        for (const message of wantedOf(asked, past ?? [])) sink.write(lineOf(message), true);
        past = undefined;
        if (isOpen) unfollow = stop;
        else stop();
      },
      () => sink.end(),
    );
    return () => {
      isOpen = false;
      leave();
      unfollow();
    };
  });
}

/** Makes lines of the output of all calls of a function. */
export class Lines {
  readonly #asked: Pick<AskedLogs, "name" | "instance">;
  readonly #clock: Pick<Clock, "now">;
  /** The calls with lines that have no end yet, the first one first. */
  readonly #calls = new Map<string, CallLines>();

  constructor(asked: Pick<AskedLogs, "name" | "instance">, clock: Pick<Clock, "now">) {
    this.#asked = asked;
    this.#clock = clock;
  }

  /** Returns the lines that a piece of output ends. The end of a call may never come: of very many at once, some are left out. */
  take({ entries, ends, left_out }: FunctionOutput): LogMessage[] {
    const { name, instance } = this.#asked;
    const now = this.#clock.now();
    const messages: LogMessage[] = [];
    if (left_out > 0) messages.push(leftOut(name, left_out, now));
    for (const { invocation_id: id, ...entry } of entries) {
      if (instance !== undefined && instance !== id) continue;
      const lines = this.#calls.get(id) ?? new CallLines(name, id);
      for (const message of lines.take([entry], now)) messages.push(message);
      if (lines.has_begun) this.#calls.set(id, lines);
      else this.#calls.delete(id);
    }
    for (const { invocation_id: id } of ends) {
      messages.push(...(this.#calls.get(id)?.end() ?? []));
      this.#calls.delete(id);
    }
    for (const [id, lines] of this.#calls) {
      if (this.#calls.size <= BEGUN_CALLS) break;
      messages.push(...lines.end());
      this.#calls.delete(id);
    }
    return messages;
  }
}

/** Returns the lines of the past that are asked for. */
function wantedOf(
  { since, lines: most = Infinity }: AskedLogs,
  messages: readonly LogMessage[],
): readonly LogMessage[] {
  const recent = since === undefined ? messages : messages.filter(({ timestamp }) => timestamp >= since);
  return recent.slice(Math.max(0, recent.length - most));
}

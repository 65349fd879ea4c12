import { t } from "elysia";
import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { FunctionOutput } from "../../domain/calls/views/function-logs.ts";
import { AppError } from "../../domain/errors.ts";
import { PAGE } from "../../domain/limits.ts";
import { checkNamespace } from "../../domain/openfaas/deployment.ts";
import { CallLines, leftOut, type LogMessage } from "../../domain/openfaas/log-messages.ts";
import { quoted } from "../../domain/quoted.ts";
import { readTime } from "../../domain/types.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { Listeners } from "../access/listeners.ts";
import { type Guard, resource } from "../access/guard.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { textStream } from "../wire/event-stream.ts";
import { failing, OPENFAAS_TAG } from "./documented.ts";
import { namespaced, type SYSTEM_SCOPES } from "./functions.ts";
import { functionNamed } from "./names.ts";

/** The services that know what functions print. */
export interface LogTools {
  readonly functions: FunctionService;
  readonly invocations: InvocationService;
  readonly results: ResultService;
  readonly clock: Clock;
  readonly listeners: Listeners;
}

/** The latest calls whose output is looked through, if the request does not say since when. */
const LATEST_CALLS = 100;
/** The most calls whose output is looked through. */
const CALLS = 10_000;

const query = t.Object({
  name: t.String({ description: "The name of the function.", examples: ["figlet"] }),
  ...namespaced.properties,
  follow: t.Optional(
    t.String({ description: "`true`: also send what is printed from now on, until the client leaves." }),
  ),
  since: t.Optional(
    t.String({
      description: `Only of calls from this time on; of the latest ${LATEST_CALLS} by default.`,
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
      const leave = tools.listeners.enter(guard.callerOf(request).key_id);
      try {
        return await answer(tools, asked, /^(?:true|1|t)$/i.test(follow ?? ""), leave);
      } catch (error) {
        leave();
        throw error;
      }
    },
    {
      needs: "read",
      long: true,
      query,
      detail: {
        operationId: "openfaasGetLogs",
        summary: "Follow what a function prints",
        description:
          "With `follow` the past is that of the latest 10 calls. Lines of JSON: `name`, `namespace`, `instance` (the id of the invocation), `timestamp` and `text`. While it follows, there is an empty line every 5 s.",
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

interface Asked {
  readonly function_id: string;
  readonly name: string;
  readonly since: string | undefined;
  /** How many of the past lines; undefined for all. */
  readonly lines: number | undefined;
  readonly instance: string | undefined;
}

function linesIn(tail: string | undefined): number | undefined {
  if (tail === undefined || tail === "" || tail === "0" || tail === "-1") return undefined;
  if (/^\d{1,9}$/.test(tail)) return Number(tail);
  throw new AppError("invalid_request", `Invalid "tail" ${quoted(tail)}: give a number of lines`);
}

const NDJSON = { type: "application/x-ndjson", beat: "\n" } as const;

async function answer(tools: LogTools, asked: Asked, follow: boolean, leave: () => void): Promise<Response> {
  if (!follow) {
    const lines = await pastLines(tools, asked, await callsOf(tools, asked));
    leave();
    return new Response(lines.map(lineOf).join(""), { headers: { "Content-Type": NDJSON.type } });
  }
  return textStream(tools.clock, NDJSON, (sink) => {
    let isOpen = true;
    let unfollow = (): void => undefined;
    const output = new Lines(asked, tools.clock);
    let past: LogMessage[] | undefined = [];
    const listen = (piece: FunctionOutput) => {
      const messages = output.take(piece);
      if (past === undefined) for (const message of messages) sink.write(lineOf(message));
      else past.push(...messages);
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
class Lines {
  readonly #asked: Asked;
  readonly #clock: Clock;
  /** The calls that run. */
  readonly #calls = new Map<string, CallLines>();

  constructor(asked: Asked, clock: Clock) {
    this.#asked = asked;
    this.#clock = clock;
  }

  take({ entries, ends, left_out }: FunctionOutput): LogMessage[] {
    const { name, instance } = this.#asked;
    const now = this.#clock.now();
    const messages: LogMessage[] = [];
    if (left_out > 0) messages.push(leftOut(name, left_out, now));
    for (const { invocation_id: id, ...entry } of entries) {
      if (instance !== undefined && instance !== id) continue;
      const lines = this.#calls.get(id) ?? new CallLines(name, id);
      this.#calls.set(id, lines);
      messages.push(...lines.take([entry], now));
    }
    for (const { invocation_id: id } of ends) {
      messages.push(...(this.#calls.get(id)?.end() ?? []));
      this.#calls.delete(id);
    }
    return messages;
  }
}

/** Returns the lines of the past that are asked for. */
function wantedOf({ since, lines: most = Infinity }: Asked, messages: readonly LogMessage[]): readonly LogMessage[] {
  const recent = since === undefined ? messages : messages.filter(({ timestamp }) => timestamp >= since);
  return recent.slice(Math.max(0, recent.length - most));
}

/** Returns the calls of a function whose output is asked for, the latest one last. */
async function callsOf({ invocations }: LogTools, { function_id, since, instance }: Asked): Promise<Invocation[]> {
  if (instance !== undefined) {
    const one = await invocations.get(instance);
    return one.function_id === function_id ? [one] : [];
  }
  const most = since === undefined ? LATEST_CALLS : CALLS;
  const found: Invocation[] = [];
  let cursor: string | undefined;
  do {
    const limit = Math.min(PAGE.max, most - found.length);
    const page = await invocations.list({ function_id, limit, ...(since && { since }), ...(cursor && { cursor }) });
    found.push(...page.invocations);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && found.length < most);
  return found.toReversed();
}

/** Returns what calls have printed, as far as it is asked for. The output of the last calls is read first: it may be enough. */
async function pastLines(
  { invocations, clock }: LogTools,
  asked: Asked,
  calls: readonly Invocation[],
): Promise<readonly LogMessage[]> {
  const { name, lines: most = Infinity } = asked;
  const parts: LogMessage[][] = [];
  let count = 0;
  for (const { id, created_at } of calls.toReversed()) {
    if (count >= most) break;
    const { entries } = await invocations.logs(id);
    const lines = new CallLines(name, id);
    const part = [...lines.take(entries, Date.parse(created_at) || clock.now()), ...lines.end()];
    parts.push(part);
    count += part.length;
  }
  return wantedOf(asked, parts.toReversed().flat());
}

function lineOf(message: LogMessage): string {
  return `${JSON.stringify(message)}\n`;
}

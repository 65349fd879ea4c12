import { t } from "elysia";
import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { AppError } from "../../domain/errors.ts";
import { PAGE } from "../../domain/limits.ts";
import { checkNamespace } from "../../domain/openfaas/deployment.ts";
import { CallLines, type LogMessage } from "../../domain/openfaas/log-messages.ts";
import { quoted } from "../../domain/quoted.ts";
import { readTime } from "../../domain/types.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import { Listeners } from "../access/listeners.ts";
import { type Guard, resource } from "../access/guard.ts";
import { errorDetails } from "../openapi/operation.ts";
import { textStream, type TextSink } from "../wire/text-stream.ts";
import { namespaced, OPENFAAS_TAG, type SYSTEM_SCOPES } from "./functions.ts";
import { functionNamed } from "./names.ts";

/** The services that know what functions print. */
export interface LogTools {
  readonly functions: FunctionService;
  readonly invocations: InvocationService;
  readonly results: ResultService;
  readonly clock: Clock;
}

/** The latest calls whose output is looked through, if the request does not say since when. */
const LATEST_CALLS = 100;
/** The most calls whose output is looked through. */
const CALLS = 10_000;

const query = t.Object({
  name: t.String({ description: "The name of the function.", examples: ["figlet"] }),
  ...namespaced.properties,
  follow: t.Optional(t.String({ description: "`true`: also send what is printed from now on, until the client leaves." })),
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
  const listeners = new Listeners();
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
        instance,
      };
      const leave = listeners.enter(guard.callerOf(request).key_id);
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
          "Lines of JSON: `name`, `namespace`, `instance` (the id of the invocation), `timestamp` and `text`. While it follows, there is an empty line every 5 s.",
        responses: {
          200: { description: "The lines.", content: { "application/x-ndjson": { schema: { type: "string" } } } },
          ...errorDetails(400, 404),
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
    const following = new Following(tools, asked, sink);
    void following.begin();
    return () => {
      leave();
      following[Symbol.dispose]();
    };
  });
}

/** Sends what a function has printed, and then what its calls print. */
class Following implements Disposable {
  readonly #tools: LogTools;
  readonly #asked: Asked;
  readonly #sink: TextSink;
  readonly #seen = new Set<string>();
  /** What ends the following of each call that runs. */
  readonly #followed = new Map<string, () => void>();
  /** The calls that began while the past was being sent. */
  #early: string[] | undefined = [];
  #unwatch: () => void = () => undefined;
  #isOver = false;

  constructor(tools: LogTools, asked: Asked, sink: TextSink) {
    this.#tools = tools;
    this.#asked = asked;
    this.#sink = sink;
  }

  async begin(): Promise<void> {
    const { results } = this.#tools;
    this.#unwatch = results.watch(this.#asked.function_id, ({ id, status }) => {
      if (status === "queued" || this.#seen.has(id)) return;
      if (this.#early === undefined) this.#follow(id);
      else this.#early.push(id);
    });
    try {
      const calls = await callsOf(this.#tools, this.#asked);
      const ended = calls.filter(({ finished_at }) => finished_at !== null);
      for (const { id } of ended) this.#seen.add(id);
      for (const line of await pastLines(this.#tools, this.#asked, ended)) this.#sink.write(lineOf(line), true);
      const running = calls.filter(({ status }) => status === "running").map(({ id }) => id);
      const begun = new Set([...running, ...(this.#early ?? [])]);
      this.#early = undefined;
      for (const id of begun) this.#follow(id);
    } catch {
      // The store cannot be read: the reader comes again.
      this.#sink.end();
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#unwatch();
    for (const stop of this.#followed.values()) stop();
    this.#followed.clear();
  }

  #follow(id: string): void {
    const { instance, name } = this.#asked;
    if (this.#isOver || this.#seen.has(id) || (instance !== undefined && instance !== "" && instance !== id)) return;
    this.#seen.add(id);
    const lines = new CallLines(name, id);
    const send = (messages: readonly LogMessage[]) => {
      for (const message of messages) this.#sink.write(lineOf(message));
    };
    const end = () => {
      send(lines.end());
      this.#followed.delete(id);
      // A retry is another attempt at the same call.
      this.#forgetLater(id);
    };
    const stopped = { isStopped: false, stop: (): void => undefined };
    this.#followed.set(id, () => {
      stopped.isStopped = true;
      stopped.stop();
    });
    this.#tools.results
      .follow(id, (event) => event.type === "log" && send(lines.take(event.entries, this.#tools.clock.now())), end)
      .then(
        (stop) => (stopped.isStopped ? stop() : (stopped.stop = stop)),
        () => this.#followed.delete(id),
      );
  }

  /** Calls that have ended do not print again: only so many of them are remembered. */
  #forgetLater(id: string): void {
    this.#seen.delete(id);
    this.#seen.add(id);
    for (const old of this.#seen) {
      if (this.#seen.size <= CALLS) break;
      this.#seen.delete(old);
    }
  }
}

/** Returns the calls of a function whose output is asked for, the latest one last. */
async function callsOf({ invocations }: LogTools, { function_id, since, instance }: Asked): Promise<Invocation[]> {
  if (instance !== undefined && instance !== "") {
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
  { name, lines: most = Infinity }: Asked,
  calls: readonly Invocation[],
): Promise<LogMessage[]> {
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
  const all = parts.toReversed().flat();
  return most === Infinity ? all : all.slice(-most);
}

function lineOf(message: LogMessage): string {
  return `${JSON.stringify(message)}\n`;
}

import { ConfigError } from "../../../config/config.ts";
import { duration } from "../../../config/quantity-readers.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import type { Reason } from "../../../domain/errors.ts";
import type { ApiClient } from "../../api/api-client.ts";
import { waitForEnd } from "../../api/invocation-end.ts";
import { about, segment } from "../../api/names.ts";
import { CommandError, EXIT } from "../../exit-codes.ts";
import { contentOf, repeated } from "../../option-readers.ts";
import type { Output } from "../../output/output.ts";
import { printableLines } from "../../output/printable.ts";
import type { Define } from "../../tools.ts";

/** The longest wait for an asynchronous call: a function's queue may be long. In milliseconds. */
const WAIT_MS = 366 * 24 * 3_600_000;

/** Reasons that are the function's: it was called. */
const OF_FUNCTION: ReadonlySet<Reason | undefined> = new Set<Reason>([
  "function_failed",
  "invalid_response",
  "response_too_large",
  "out_of_memory",
  "function_timeout",
]);

/** `slipway invoke`: calls a function and prints its answer. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function>", "Its name or id.")
    .argument("[body]", "The request body; @FILE for the content of a file, - for standard input.")
    .option("-H, --header <name:value>", "A header of the request; can be given several times.", repeated)
    .option("-i, --include", "Print the status and the headers of the answer, too.")
    .option("--async", "Queue the call, and print the id of the invocation.")
    .option("--wait [time]", "With --async: wait for the end, at most this long, and print the answer.")
    .option("--delay <time>", "With --async: not before this time has passed, such as 30s.", milliseconds)
    .option("--run-at <time>", "With --async: not before this time, such as 2026-01-31T12:00:00Z.")
    .option("--priority <number>", "With --async: higher goes first among the calls of one function.")
    .option("--callback-url <url>", "With --async: where the result is sent.")
    .option("--idempotency-key <key>", "Call the function only once for this key, however often this is run.")
    .action(async (name, body, options) => {
      const { wait, delay, runAt, priority, callbackUrl, idempotencyKey } = options;
      const isAsync = options.async === true;
      const query = { delay_ms: delay, run_at: runAt, priority, callback_url: callbackUrl };
      if (!isAsync && (wait !== undefined || Object.values(query).some((value) => value !== undefined))) {
        throw new ConfigError(
          "--wait, --delay, --run-at, --priority and --callback-url are for --async: add it, or leave them out",
        );
      }
      const limit_ms = typeof wait === "string" ? waitOf(wait) : WAIT_MS;
      const server = client();
      const bytes = await contentOf(body ?? "");
      const request = {
        method: "POST",
        path: `/v1/functions/${segment("function", name)}/invoke`,
        body: bytes,
        headers: {
          Accept: "*/*",
          "Content-Type": isJson(bytes) ? "application/json" : "application/octet-stream",
          ...headersIn(options.header ?? []),
          ...(idempotencyKey !== undefined && { "Idempotency-Key": idempotencyKey }),
        },
      } as const;
      if (!isAsync) {
        await about(server, "function", name, async () =>
          // A function may take as long as it likes; the server ends it.
          print(server, out, await server.send({ ...request, timeout_ms: 0 }), options.include === true),
        );
        return;
      }
      const queued = await about(server, "function", name, () =>
        server.data<Invocation>({ ...request, query: { ...query, async: true } }),
      );
      if (wait === undefined) return out.json ? out.value(queued) : out.line(queued.id);
      const ended = await waitForEnd(server, queued.id, limit_ms);
      await printEnd(server, out, ended, options.include === true);
    });
};

async function printEnd(server: ApiClient, out: Output, ended: Invocation, include: boolean): Promise<void> {
  if (ended.status === "queued" || ended.status === "running") {
    throw new CommandError(
      `The invocation ${ended.id} is still ${ended.status}: "slipway logs -f ${ended.id}" follows it`,
    );
  }
  const path = `/v1/invocations/${ended.id}/result`;
  await print(server, out, await server.send({ method: "GET", path, timeout_ms: 0 }), include);
}

/** Prints the answer of a call. Throws if it is an error, or the server's answer in place of the function's. */
async function print(server: ApiClient, out: Output, response: Response, include: boolean): Promise<void> {
  const { status, headers } = response;
  const id = headers.get("x-request-id");
  // The server puts every function's own answer into a sandbox.
  const isOwn = headers.get("content-security-policy")?.startsWith("sandbox") === true;
  if (!isOwn && !response.ok) {
    const error = await server.errorOf(response);
    if (!OF_FUNCTION.has(error.reason)) throw error;
    throw new CommandError(
      `${error.message}${id === null ? "" : `. "slipway logs ${id}" shows what it has printed`}`,
      EXIT.function_failed,
    );
  }
  const body = new Uint8Array(await response.arrayBuffer());
  if (out.json) {
    out.value({ invocation_id: id, status, headers: Object.fromEntries(headers), ...bodyFields(body) });
  } else {
    if (include) {
      out.line(`HTTP ${status}`);
      for (const [name, value] of headers) out.line(`${name}: ${value}`);
      out.line("");
    }
    printBody(out, body);
  }
  if (status >= 400) throw new CommandError(`The function answered ${status}`, EXIT.function_failed);
}

/** Prints a body: as it is for a program or a file, made safe for a terminal. */
function printBody(out: Output, body: Uint8Array): void {
  if (!out.isTerminal) return out.raw(body);
  const text = printableLines(new TextDecoder().decode(body));
  if (text !== "") out.raw(text.endsWith("\n") ? text : `${text}\n`);
}

/** Returns a body for JSON: as a text if it is one. */
function bodyFields(body: Uint8Array): { readonly body: string } | { readonly body_base64: string } {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { body_base64: Buffer.from(body).toString("base64") };
  }
}

function headersIn(texts: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/.exec(text) ?? [];
      if (name === undefined || value === undefined) {
        throw new ConfigError(`Invalid --header ${JSON.stringify(text)}: give one such as "Accept: text/plain"`);
      }
      return [name, value] as const;
    }),
  );
}

const readDuration = duration(0, WAIT_MS);

function milliseconds(text: string): number {
  try {
    return readDuration(text);
  } catch {
    throw new ConfigError(`Invalid time ${JSON.stringify(text)}: give one such as 30s, 5m or 1h`);
  }
}

function waitOf(text: string): number {
  try {
    return milliseconds(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${error.message} after --wait. A body goes before the options`, { cause: error });
  }
}

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}

import { bytesOf } from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { hasWatchdog } from "../../domain/functions/detection.ts";
import type { SecretValues } from "../../domain/secrets.ts";
import type { GateFile } from "../gate-protocol/frames.ts";
import type { BootPlan } from "../instance/boot-plan.ts";
import type { StreamExchange } from "../instance/stream-exchange.ts";
import type { ContractCall } from "./contract.ts";
import { HttpDialogue } from "./http-dialogue.ts";
import { httpRequest } from "./http-head.ts";
import { readyByPath } from "./ready-path.ts";

/** An of-watchdog ends calls by three timeouts of its own: they are to be later than ours, in milliseconds. */
const WATCHDOG_SLACK_MS = 5_000;

/**
 * The contract `http`: the function is a server, which listens before it is called. A call is a request over a connection that no
 * other call has at the same time, and its answer is passed on as it comes.
 */
export const HTTP = {
  /** Returns how an instance of a function boots. Secrets and variables are handed over here, not with a call. */
  plan(fn: Function, secrets: SecretValues, limits: { readonly log_bytes: number }): BootPlan {
    const places = hasWatchdog(fn) ? (["secrets", "watchdog_secrets"] as const) : (["secrets"] as const);
    const files = places.flatMap((place) =>
      secrets.files.map(({ name, value }): GateFile => ({ place, name, bytes: Buffer.from(value) })),
    );
    const { boot_timeout_ms, concurrency, max_calls, idle, ready_path, extra_ports } = fn;
    const port = fn.port ?? 8080;
    return {
      request: {
        freeze: (idle ?? (max_calls === 1 ? "freeze" : "run")) === "freeze",
        bootTimeoutMs: boot_timeout_ms,
        logLimit: fn.log_bytes ?? limits.log_bytes,
        ports: [port, ...extra_ports],
      },
      extras: { environment: secrets.environment, defaults: variablesOf(fn, port), files },
      secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
      boot_timeout_ms,
      concurrency,
      max_calls,
      ...(ready_path !== null && { isReady: readyByPath(ready_path) }),
    };
  },

  /** Turns a call into its exchange. Returns a promise only if the body of the request must arrive first. */
  exchange(call: ContractCall, now: () => number): StreamExchange | Promise<StreamExchange> {
    const { function: fn, request } = call;
    const { body, headers } = request;
    if (!(body instanceof Uint8Array) && fn.buffer_request && headers["content-length"] === undefined) {
      return bytesOf(body).then((bytes) => exchangeOf(call, { ...request, body: bytes }, now));
    }
    return exchangeOf(call, request, now);
  },
};

function exchangeOf(
  { id, function: fn }: ContractCall,
  request: ContractCall["request"],
  now: () => number,
): StreamExchange {
  const asked = httpRequest(id, request, fn.concurrency > 1);
  return { begin: (open, listener) => new HttpDialogue(asked, request.body, open, listener, now) };
}

/** Returns the variables of Knative's and Cloud Run's contract, and an of-watchdog's, unless the image or the function has them. */
function variablesOf({ id, name, version, timeout_ms }: Function, port: number): Readonly<Record<string, string>> {
  const watchdog = `${Math.ceil((timeout_ms + WATCHDOG_SLACK_MS) / 1_000)}s`;
  const service = name ?? id;
  return {
    PORT: String(port),
    K_SERVICE: service,
    K_REVISION: `${service}-${version}`,
    K_CONFIGURATION: service,
    read_timeout: watchdog,
    write_timeout: watchdog,
    exec_timeout: watchdog,
  };
}

import type { Clock } from "../../../clock.ts";
import type { Function } from "../../../domain/functions/functions.ts";
import { idleOf } from "../../../domain/functions/contract.ts";
import { functionArn, regionOf, RUNTIME_API_PORT } from "../../../domain/lambda/names.ts";
import type { SecretValues } from "../../../domain/secrets.ts";
import { spanIdOf, traceIdOf } from "../../../domain/tracing/trace-context.ts";
import type { GateFile } from "../../gate-protocol/frames.ts";
import type { BootPlan } from "../../instance/boot-plan.ts";
import type { StreamExchange } from "../../instance/stream-exchange.ts";
import type { ContractCall } from "../contract.ts";
import type { FunctionFacts } from "./extensions.ts";
import { formOf } from "./function-url.ts";
import { LambdaApp } from "./lambda-app.ts";
import type { LambdaDialogue } from "./lambda-dialogue.ts";
import { reportLines } from "./report.ts";

const MIB = 1024 * 1024;

/**
 * The contract `lambda`: the function is a runtime, or has one, that asks the Runtime API of AWS Lambda for its calls. The gate listens for
 * it before it starts; a call is an event, and its answer a payload.
 */
export const LAMBDA = {
  /** Returns how an instance of a function boots, with the Runtime API that it will find. */
  plan(
    fn: Function,
    secrets: SecretValues,
    { log_bytes, clock }: { readonly log_bytes: number; readonly clock: Clock },
  ): BootPlan {
    return {
      request: {
        freeze: idleOf(fn) === "freeze",
        bootTimeoutMs: fn.boot_timeout_ms,
        logLimit: fn.log_bytes ?? log_bytes,
        ports: [RUNTIME_API_PORT],
        serve: true,
      },
      extras: {
        environment: secrets.environment,
        defaults: variablesOf(fn),
        files: secrets.files.map(({ name, value }): GateFile => ({
          place: "secrets",
          name,
          bytes: Buffer.from(value),
        })),
      },
      secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
      boot_timeout_ms: fn.boot_timeout_ms,
      concurrency: 1,
      max_calls: fn.max_calls,
      app: new LambdaApp(clock, factsOf(fn)),
    };
  },

  /** Adds what follows from the command: its last word, if it has several, names the handler. */
  withHandler(plan: BootPlan, command: readonly string[]): BootPlan {
    const handler = command.length > 1 ? command.at(-1) : undefined;
    if (handler === undefined) return plan;
    const { extras, app } = plan;
    if (app !== undefined && extras.environment["_HANDLER"] === undefined) app.handler = handler;
    return { ...plan, extras: { ...extras, defaults: { ...extras.defaults, _HANDLER: handler } } };
  },

  /** Turns a call, whose body has arrived, into its exchange with an instance. Throws `invalid_request` if it is no event. */
  exchange({ id, function: fn, request }: ContractCall, app: LambdaApp, now: number): StreamExchange {
    const { body, headers } = request;
    if (!(body instanceof Uint8Array))
      throw new TypeError("A function of the contract lambda was called before its event was there");
    const form = formOf(request, { id, time_ms: Math.floor(now) });
    const event = form.event(request, body);
    const { timeout_ms } = fn;
    const call = { id, event, form, timeout_ms, headers: eventHeaders(id, fn, headers) };
    let dialogue: LambdaDialogue | undefined;
    return {
      begin: (_open, listener) => (dialogue = app.serve(call, listener)),
      lines: reportLines(id, fn, () => dialogue?.crashed),
    };
  },
};

function factsOf(fn: Function): FunctionFacts {
  const functionName = fn.name ?? fn.id;
  return { functionName, functionVersion: String(fn.version), handler: fn.environment["_HANDLER"] ?? "" };
}

/** Returns what a runtime is told of a call besides its id and its deadline. */
function eventHeaders(id: string, fn: Function, headers: ContractCall["request"]["headers"]): [string, string][] {
  const context = headers["x-amz-client-context"];
  return [
    ["Lambda-Runtime-Invoked-Function-Arn", functionArn(fn)],
    ["Lambda-Runtime-Trace-Id", headers["x-amzn-trace-id"] ?? traceOf(id, headers["traceparent"])],
    ...(context === undefined ? [] : [clientContext(context)]),
  ];
}

/** A client context comes as base64 of JSON, and runtimes get the JSON. One with other characters than ASCII is no header: it is left as it came. */
function clientContext(encoded: string): [string, string] {
  const text = Buffer.from(encoded, "base64").toString();
  return ["Lambda-Runtime-Client-Context", /^[\u0020-\u007e]*$/.test(text) ? text : encoded];
}

/** Returns the trace of a call as X-Ray writes it. */
function traceOf(id: string, traceparent: string | undefined): string {
  const [, trace = traceIdOf(id), span = spanIdOf(id), flags = "00"] =
    /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "") ?? [];
  const sampled = Number.parseInt(flags, 16) % 2;
  return `Root=1-${trace.slice(0, 8)}-${trace.slice(8)};Parent=${span};Sampled=${sampled}`;
}

/** Returns the variables of AWS Lambda's sandbox, unless the image or the function has them. There are no credentials among them. */
function variablesOf(fn: Function): Readonly<Record<string, string>> {
  const name = fn.name ?? fn.id;
  const region = regionOf(fn);
  return {
    AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${RUNTIME_API_PORT}`,
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: String(fn.version),
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(Math.floor(fn.memory_bytes / MIB)),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: `[${fn.version}]${fn.id}`,
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_XRAY_CONTEXT_MISSING: "LOG_ERROR",
    AWS_XRAY_DAEMON_ADDRESS: "127.0.0.1:2000",
    LAMBDA_TASK_ROOT: "/var/task",
    LAMBDA_RUNTIME_DIR: "/var/runtime",
    TZ: ":UTC",
  };
}

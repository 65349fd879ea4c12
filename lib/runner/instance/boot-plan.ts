import type { Clock } from "../../clock.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { AppError } from "../../domain/errors.ts";
import { lastLines } from "../last-boots.ts";
import type { BootFrame } from "../gate-protocol/boot-conversation.ts";
import type { BootRequest } from "../gate-protocol/boot-frames.ts";
import type { GateExtras, Listener } from "../gate-protocol/frames.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import type { AskingApp, InitFailure } from "./boot/asking-app.ts";
import { within } from "./boot/within.ts";
import { BootError } from "./boot-error.ts";
import type { OutputSinceBoot } from "./idle-output.ts";
import { LogCollector } from "./log-collector.ts";
import { judgeFailed } from "./outcome.ts";
import type { OpenStream } from "./stream-exchange.ts";

/** Everything about an instance that boots which does not come from its container. */
export interface BootPlan {
  readonly request: BootRequest;
  readonly extras: GateExtras;
  /** Values that are masked in everything that is reported. */
  readonly secrets: readonly string[];
  readonly boot_timeout_ms: number;
  readonly concurrency: number;
  /** The most calls of the instance; 0 for no limit. */
  readonly max_calls: number;
  /** Settles when the function is ready, which listens by now; it is asked only while `goesOn` says so. */
  readonly isReady?: (open: OpenStream, clock: Clock, goesOn: () => boolean) => Promise<undefined>;
  /** In place of a port that listens: the function connects and asks for its calls, one at a time. */
  readonly app?: AskingApp;
}

/** Is told that a function boots, and how to end that: the start fails then. */
export type OnBoot = (giveUp: () => void) => void;

/** A boot that is over, in milliseconds, with what the function printed until then, and since. */
export interface SuccessfulBoot {
  readonly boot_ms: number;
  readonly logs: readonly LogEntry[];
  readonly since: OutputSinceBoot | undefined;
}

/** The lines of output that the message of a failed boot has. */
const LINES = 5;

type Failed = Extract<BootFrame, { type: "failed" | "not_listening" | "exit" }>;

/** Returns the error for an instance whose gate reports that the function does not boot. */
export function bootError(
  frame: Failed,
  plan: BootPlan,
  command: readonly string[],
  logs: readonly LogEntry[],
): AppError {
  if (frame.type === "not_listening") return notReadyInTime(plan, logs, false, frame.listeners);
  if (frame.type === "failed") {
    const facts = { logs: new LogCollector(Date.now, plan.secrets), timeout_ms: 0, response_limit: 0, command };
    const { reason, message } = judgeFailed(frame, facts);
    return new BootError(reason ?? "internal", message ?? "", logs);
  }
  if (frame.oomKills > 0) return new BootError("out_of_memory", OUT_OF_MEMORY, logs);
  const how = frame.signal === 0 ? `exited with code ${frame.exitCode}` : `was ended by signal ${frame.signal}`;
  const what = plan.app === undefined ? `listened on ${portsOf(plan)}` : "asked for its first call";
  return new BootError("boot_failed", `The function ${how} before it ${what}${said(logs)}`, logs, {
    exit_code: frame.signal === 0 ? frame.exitCode : null,
    signal: frame.signal === 0 ? null : frame.signal,
  });
}

/** Returns the error for a function that has reported that it cannot start. */
function initError({ message, payload }: InitFailure, logs: readonly LogEntry[]): AppError {
  return new BootError("boot_failed", `The function could not start: ${message}`, logs, {
    exit_code: null,
    signal: null,
    report: payload,
  });
}

/** Returns the error for a function that is not ready in time: it does not listen, or does not answer on its `ready_path`. */
export function notReadyInTime(
  plan: BootPlan,
  logs: readonly LogEntry[],
  listens = false,
  listeners: readonly Listener[] = [],
): AppError {
  const within = `within ${plan.boot_timeout_ms} ms`;
  const what = plan.app
    ? `${plan.app.missing} ${within}: see its logs, or raise "boot_timeout_ms"`
    : listens
      ? `answer its "ready_path" with a status below 400 ${within}: see its logs, or raise "boot_timeout_ms"`
      : `listen on ${portsOf(plan)} ${within}: ${instead(listeners)}`;
  return new BootError("boot_timeout", `The function did not ${what}${said(logs)}`, logs);
}

function portsOf({ request: { ports } }: BootPlan): string {
  return ports.length === 1 ? `port ${ports[0]}` : `the ports ${ports.join(" and ")}`;
}

function instead(listeners: readonly Listener[]): string {
  const [first] = listeners;
  if (first === undefined) return 'nothing listens; raise "boot_timeout_ms", or see its logs';
  const all = listeners.map(({ address, port }) =>
    address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
  );
  return `it listens on ${all.join(", ")}; set "port" to ${first.port}`;
}

function said(logs: readonly LogEntry[]): string {
  const lines = lastLines(logs, LINES);
  return lines.length === 0 ? ", and it printed nothing" : `. The last lines of its output: ${lines.join(" | ")}`;
}

/**
 * Waits for at most so many milliseconds until a function that listens is also ready. Throws the error of one that is late or reports
 * that it cannot start, with its output.
 */
export async function untilReady(
  isReady: Promise<InitFailure | undefined>,
  ms: number,
  clock: Pick<Clock, "after">,
  plan: BootPlan,
  output: () => readonly LogEntry[],
): Promise<void> {
  const failure = await within(clock, ms, isReady, () => notReadyInTime(plan, output(), true));
  if (failure !== undefined) throw initError(failure, output());
}

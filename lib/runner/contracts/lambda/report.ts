import type { Function } from "../../../domain/functions/functions.ts";
import { functionErrorOf } from "../../../domain/lambda/function-error.ts";
import type { CallEnd, StreamExchange } from "../../instance/stream-exchange.ts";

const MIB = 1024 * 1024;

/**
 * Returns the lines that AWS Lambda adds to the log of a call. The time is what the call took and not billed in whole milliseconds; the memory
 * is measured, and left out where it is not known. `crashed` returns the type of the error of an extension that has ended the call.
 */
export function reportLines(
  id: string,
  fn: Function,
  crashed: () => string | undefined,
): NonNullable<StreamExchange["lines"]> {
  const { version, memory_bytes } = fn;
  return {
    first: `START RequestId: ${id} Version: ${version}\n`,
    last(end) {
      const { run_ms, boot_ms, peak_memory_bytes: peak } = end;
      const fields = [
        `RequestId: ${id}`,
        `Duration: ${run_ms.toFixed(2)} ms`,
        `Billed Duration: ${Math.ceil(run_ms)} ms`,
        `Memory Size: ${Math.floor(memory_bytes / MIB)} MB`,
        ...(peak === null ? [] : [`Max Memory Used: ${Math.ceil(peak / MIB)} MB`]),
        ...(boot_ms === undefined ? [] : [`Init Duration: ${boot_ms.toFixed(2)} ms`]),
        ...statusOf(id, end, fn, crashed()),
      ];
      const late = end.status === "timed_out" ? `${timedOut(id, fn)}\n` : "";
      return `${late}END RequestId: ${id}\nREPORT ${fields.join("\t")}\n`;
    },
  };
}

function timedOut(id: string, { timeout_ms }: Function): string {
  return `${id} Task timed out after ${(timeout_ms / 1_000).toFixed(2)} seconds`;
}

/** A call that its function has reported as failed has no status: its runtime was fine. */
function statusOf(id: string, end: CallEnd, { timeout_ms }: Function, crashed: string | undefined): string[] {
  if (end.status === "timed_out") return ["Status: timeout"];
  if (crashed !== undefined) return ["Status: error", `Error Type: ${crashed}`];
  if (end.reason === null || (end.reason === "function_failed" && end.exit_code === null && end.signal === null))
    return [];
  const error = functionErrorOf({ ...end, id, message: null }, timeout_ms);
  return error === undefined ? [] : ["Status: error", `Error Type: ${error.errorType}`];
}

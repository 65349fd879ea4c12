import type { BootConversation } from "../../gate-protocol/boot-conversation.ts";
import type { AskingApp, ShutdownReason } from "./asking-app.ts";

/** The time from SIGTERM to SIGKILL for an app that has served its last call: access logs and telemetry get out. */
const FINISH_MS = 100;
/** The same for an app whose extensions are told of its end, and the time that these have from then on. As on AWS. */
const FINISH_BEFORE_EXTENSIONS_MS = 300;
const EXTENSIONS_MS = 2_000;
/** The time that a gate has, beyond that, to report the end. */
export const REPORT_MS = 2_000;

/** Has the gate end an app, and its extensions after it. Returns the milliseconds in which the end is to be reported. */
export function finish(conversation: BootConversation, app: AskingApp | undefined, reason: ShutdownReason): number {
  const extensions = app?.shutDown(reason, EXTENSIONS_MS) ?? [];
  if (extensions.length === 0) {
    conversation.finish(FINISH_MS);
    return FINISH_MS + REPORT_MS;
  }
  conversation.finish(FINISH_BEFORE_EXTENSIONS_MS, { extensions, afterMs: EXTENSIONS_MS });
  return EXTENSIONS_MS + REPORT_MS;
}

import type { FunctionError } from "../../../domain/lambda/function-error.ts";
import type { ExtensionEndFrame, ExtensionsFrame } from "../../gate-protocol/frames.ts";
import type { StreamAcceptor } from "../../gate-protocol/instance-stream.ts";

/** An app that connects to ask for its calls, as its contract speaks to it. Each instance has one of its own. */
export interface AskingApp {
  /** Takes a connection of the app. */
  readonly accept: StreamAcceptor;
  /** Settles when the app has asked for its first call: it has booted. Or when it reports that it cannot. */
  readonly asks: Promise<InitFailure | undefined>;
  /** The step that it has not done yet, in words behind "did not". */
  readonly missing: string;
  /** The name of its handler, which follows from the command of its container. */
  set handler(handler: string);
  /** Takes the programs that the gate has started beside it. `start` has the gate start the app itself. */
  extensionsStarted(extensions: ExtensionsFrame, start: () => void): void;
  /** Takes the end of one of these programs. */
  extensionEnded(end: ExtensionEndFrame): void;
  /** Tells these programs that the instance is ended in so many milliseconds. Returns the places of those that want to know. */
  shutDown(reason: ShutdownReason, inMs: number): readonly number[];
}

/** Reasons for the end of an instance: it is not needed any more, its call ran past its time, or something has failed. In AWS's words. */
export type ShutdownReason = "spindown" | "timeout" | "failure";

/** The report of an app that it cannot start. */
export interface InitFailure {
  /** For people, in one line. */
  readonly message: string;
  /** The report as it was sent, or, if something beside the app is the reason, the error without the id of a call in front of its message. */
  readonly payload: Uint8Array | FunctionError;
}

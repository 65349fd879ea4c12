import type { StreamAcceptor } from "../../gate-protocol/instance-stream.ts";

/** An app that connects to ask for its calls, as its contract speaks to it. Each instance has one of its own. */
export interface AskingApp {
  /** Takes a connection of the app. */
  readonly accept: StreamAcceptor;
  /** Settles when the app has asked for its first call: it has booted. Or when it reports that it cannot. */
  readonly asks: Promise<InitFailure | undefined>;
}

/** The report of an app that it cannot start. */
export interface InitFailure {
  /** For people, in one line. */
  readonly message: string;
  /** The report as it was sent. */
  readonly payload: Uint8Array;
}

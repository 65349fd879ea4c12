import type { ApiAnswer, Connection } from "./connection.ts";
import { type ErrorReport, invalidState } from "./errors.ts";

/** The events that an extension may register for; internal ones are told of calls alone. */
export const EXTENSION_EVENTS = ["INVOKE", "SHUTDOWN"] as const;
export type ExtensionEvent = (typeof EXTENSION_EVENTS)[number];

type State = "Started" | "Registered" | "Ready" | "Running" | "InitError" | "ExitError";

/**
 * One extension, as the Extensions API sees it.
 *
 *     Started --register--> Registered --GET next--> Ready --event--> Running --GET next--> Ready
 *
 * `POST init/error` leads from Registered to InitError, and `POST exit/error` from Registered, Ready and Running to ExitError. Nothing
 * leaves these two, and a second report changes nothing. A `GET next` is held until there is an event; if its connection is lost,
 * the next `GET next` gets the event.
 */
export class Extension {
  readonly name: string;
  readonly id: string;
  /** The place of its program among those that the gate has started; nothing for an internal one, a part of the function. */
  readonly place: number | undefined;
  #state: State = "Started";
  #events: ReadonlySet<ExtensionEvent> = new Set();
  #held: Connection | undefined;
  /** An event that waits for a `GET next`. */
  #event: ApiAnswer | undefined;
  /** Its own report of an error. */
  report: ErrorReport | undefined;

  constructor(name: string, id: string, place?: number) {
    this.name = name;
    this.id = id;
    this.place = place;
  }

  get isRegistered(): boolean {
    return this.#state !== "Started";
  }

  /** True if it has asked for its first event. */
  get isReady(): boolean {
    return this.#state === "Ready" || this.#state === "Running";
  }

  /** True if it has an event and has not asked for the next one. */
  get isRunning(): boolean {
    return this.#state === "Running";
  }

  listensFor(event: ExtensionEvent): boolean {
    return this.isReady && this.#events.has(event);
  }

  /** Registers it. Returns the answer if that is refused. */
  register(events: ReadonlySet<ExtensionEvent>): ApiAnswer | undefined {
    if (this.#state !== "Started") return invalidState(this.#state, "Registered", this.name);
    this.#state = "Registered";
    this.#events = events;
    return undefined;
  }

  /** Takes a `GET next`. Returns the answer if that is refused. */
  ask(connection: Connection): ApiAnswer | undefined {
    const mayAsk = this.#state === "Registered" || this.isReady;
    if (!mayAsk || this.#held !== undefined) return invalidState(this.#state, "Ready", this.id);
    this.#held = connection;
    const event = this.#event;
    if (event !== undefined) this.send(event);
    else this.#state = "Ready";
    return undefined;
  }

  /** Takes the loss of the connection of a `GET next`. */
  lose(connection: Connection): void {
    if (this.#held === connection) this.#held = undefined;
  }

  /** Hands over an event, now or when it asks for one. */
  send(event: ApiAnswer): void {
    const connection = this.#held;
    this.#state = "Running";
    this.#held = undefined;
    this.#event = connection === undefined ? event : undefined;
    connection?.answer(event, (untouched) => {
      if (untouched && this.#state === "Running") this.#event = event;
    });
  }

  /** Takes its report of an error. Returns the answer if that is refused. */
  fail(state: "InitError" | "ExitError", report: ErrorReport): ApiAnswer | undefined {
    if (this.#state === state) return undefined;
    const allowed = this.#state === "Registered" || (state === "ExitError" && this.isReady);
    if (!allowed) return invalidState(this.#state, state === "ExitError" ? "Exited" : state, this.id);
    this.#state = state;
    this.report ??= report;
    return undefined;
  }
}

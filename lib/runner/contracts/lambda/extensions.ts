import type { Clock } from "../../../clock.ts";
import { endInWords } from "../../../domain/lambda/function-error.ts";
import { ACCOUNT } from "../../../domain/lambda/names.ts";
import { quoted } from "../../../domain/quoted.ts";
import { type ExtensionEndFrame, EXTENSIONS_MOST, type ExtensionsFrame } from "../../gate-protocol/frames.ts";
import type { ArrivedHead } from "../../http1/request-reader.ts";
import { type ApiAnswer, type Connection, jsonAnswer, type RequestTaker } from "./connection.ts";
import { ACCEPTED, extensionProblem, OTHER_METHOD, readReport, UNKNOWN_PATH } from "./errors.ts";
import { Extension, EXTENSION_EVENTS, type ExtensionEvent } from "./extension.ts";
import { Answers, Collects } from "./takers.ts";

/** The path of the Extensions API. */
export const EXTENSIONS_API = "/2020-01-01/extension/";
const NAME_HEADER = "lambda-extension-name";
const ID_HEADER = "lambda-extension-identifier";
const FEATURES_HEADER = "lambda-extension-accept-feature";
const ERROR_TYPE_HEADER = "lambda-extension-function-error-type";
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
/** The most bytes of a request to register, or of a report of an error. */
const BODY_BYTES = 64 * 1024;
/** The texts of errors of the system, as Go has them. */
const ERRORS: Readonly<Record<number, string>> = {
  2: "no such file or directory",
  8: "exec format error",
  13: "permission denied",
};

/** The facts of a function that its extensions are told. */
export interface FunctionFacts {
  readonly functionName: string;
  readonly functionVersion: string;
  handler: string;
}

/** A failure of a function by one of its extensions, in AWS's terms. */
export interface ExtensionFailure {
  readonly error_type: string;
  readonly error_message: string;
  /** For people, in one line. */
  readonly message: string;
}

/** The consequences of what extensions do. */
export interface ExtensionsListener {
  /** An extension has got further: it has registered, or has asked for an event. */
  readonly moved: () => void;
  /** The function cannot go on. */
  readonly failed: (failure: ExtensionFailure) => void;
}

/**
 * The extensions of one instance: programs in `/opt/extensions`, which the gate has started, and internal ones, which are parts of the
 * function. The function is started when all of the programs have registered; with its first `GET next` nobody can register any more.
 */
export class Extensions {
  readonly #clock: Pick<Clock, "uuid">;
  readonly #facts: FunctionFacts;
  readonly #listener: ExtensionsListener;
  #all: Extension[] = [];
  #closed = false;
  #start: (() => void) | undefined;
  /** True if the instance is being ended: extensions may end, too. */
  #parting = false;

  constructor(clock: Pick<Clock, "uuid">, facts: FunctionFacts, listener: ExtensionsListener) {
    this.#clock = clock;
    this.#facts = facts;
    this.#listener = listener;
  }

  /** Takes the programs that the gate has started; `start` lets it start the function. */
  started({ count, names }: ExtensionsFrame, start: () => void): void {
    if (count > EXTENSIONS_MOST) {
      const what = `there are ${count} files in /opt/extensions, and ${EXTENSIONS_MOST} extensions are possible`;
      return this.#fail("Extension.LaunchError", what, what);
    }
    this.#all = names.map((name, place) => new Extension(name, this.#clock.uuid(), place));
    this.#start = start;
  }

  /** Takes the end of a program. */
  ended({ index, exitCode, signal, errno }: ExtensionEndFrame): void {
    const extension = this.#all.find(({ place }) => place === index);
    if (this.#parting || extension === undefined) return;
    const name = shown(extension.name);
    if (errno !== 0) {
      const why = ERRORS[errno] ?? `errno ${errno}`;
      const what = `fork/exec /opt/extensions/${name}: ${why}`;
      return this.#fail("Extension.LaunchError", what, `the extension ${quoted(name)} cannot be started: ${why}`);
    }
    const how = exitCode === 0 && signal === 0 ? "exit code 0" : endInWords(exitCode, signal);
    const { report } = extension;
    const error_type = report === undefined ? "Extension.Crash" : "Extension.ExitError";
    const said = report === undefined ? "" : `, and had reported ${report.message}`;
    this.#fail(error_type, how, `the extension ${quoted(name)} has ended: ${how}${said}`);
  }

  /** Returns what keeps the function from being ready, for people; nothing if its extensions do not. */
  get missing(): string | undefined {
    const silent = this.#all.find(({ isRegistered }) => !isRegistered);
    if (silent !== undefined) return `its extension ${quoted(shown(silent.name))} did not register`;
    const busy = this.#all.find(({ isReady }) => !isReady);
    return busy && `its extension ${quoted(shown(busy.name))} did not ask for its first event`;
  }

  /** True if all have asked for the next event. */
  get areIdle(): boolean {
    return !this.#all.some(({ isRunning }) => isRunning);
  }

  /** Takes the first request of the function for a call: nobody can register any more. */
  close(): void {
    this.#closed = true;
  }

  /** Tells those that have registered for it of a call. */
  invoke(event: Readonly<Record<string, unknown>>): void {
    this.#send("INVOKE", event);
  }

  /** Tells the programs that have registered for it of the end of the instance, and returns their places. */
  shutDown(event: Readonly<Record<string, unknown>>): readonly number[] {
    this.#parting = true;
    return this.#send("SHUTDOWN", event).flatMap(({ place }) => place ?? []);
  }

  /** Takes a request of the Extensions API, whose path this is. */
  take(path: string, { method, headers }: ArrivedHead, connection: Connection): RequestTaker {
    const answers = (answer: ApiAnswer) => new Answers(connection, answer);
    const what = path.slice(EXTENSIONS_API.length);
    const wanted = { register: "POST", "event/next": "GET", "init/error": "POST", "exit/error": "POST" }[what];
    if (wanted === undefined) return answers(UNKNOWN_PATH);
    if (method !== wanted) return answers(OTHER_METHOD);
    if (what === "register")
      return new Collects(connection, BODY_BYTES, (body) => this.#register(headers, Buffer.from(body).toString()));
    const known = this.#find(headers.get(ID_HEADER) ?? "");
    if (!(known instanceof Extension)) return answers(known);
    return what === "event/next"
      ? this.#takeNext(known, connection)
      : this.#takeError(known, what === "init/error" ? "InitError" : "ExitError", headers, connection);
  }

  #find(id: string): Extension | ApiAnswer {
    if (id === "") return extensionProblem("MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header");
    if (!UUID.test(id)) return extensionProblem("InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier");
    const found = this.#all.find((extension) => extension.isRegistered && extension.id === id.toLowerCase());
    return found ?? extensionProblem("UnknownExtensionIdentifier", `Unknown extension ${id}`);
  }

  #register(headers: ArrivedHead["headers"], body: string): ApiAnswer {
    const name = headers.get(NAME_HEADER) ?? "";
    if (name === "") return extensionProblem("InvalidExtensionName", "Empty extension name");
    const events = readEvents(body);
    if ("status" in events) return events;
    const program = this.#all.find((one) => one.name === name && one.place !== undefined);
    for (const event of events) {
      const why = refusalOf(event, program !== undefined);
      if (why !== undefined) return extensionProblem("InvalidEventType", `${event}: ${why}`);
    }
    const extension = program ?? this.#internal(name);
    if (!(extension instanceof Extension)) return extension;
    const refusal = extension.register(new Set(events.filter(isEvent)));
    if (refusal !== undefined) return refusal;
    this.#moved();
    const { functionName, functionVersion, handler } = this.#facts;
    const features = (headers.get(FEATURES_HEADER) ?? "").split(",").map((feature) => feature.trim());
    const facts = { functionName, functionVersion, handler };
    const answer = jsonAnswer(200, features.includes("accountId") ? { ...facts, accountId: ACCOUNT } : facts);
    return { ...answer, headers: [...(answer.headers ?? []), ["Lambda-Extension-Identifier", extension.id]] };
  }

  /** Makes an internal extension. */
  #internal(name: string): Extension | ApiAnswer {
    if (this.#closed) return extensionProblem("RegistrationClosed", "Extension registration closed already");
    if (this.#all.some((one) => one.name === name))
      return extensionProblem("InvalidExtensionState", "Extension with this name already registered");
    if (this.#all.length >= EXTENSIONS_MOST)
      return extensionProblem("TooManyExtensions", `Extension limit (${EXTENSIONS_MOST}) reached`);
    const extension = new Extension(name, this.#clock.uuid());
    this.#all.push(extension);
    return extension;
  }

  #takeNext(extension: Extension, connection: Connection): RequestTaker {
    return {
      refuses: false,
      push: () => false,
      lost: () => extension.lose(connection),
      end: () => {
        const refusal = extension.ask(connection);
        if (refusal !== undefined) connection.answer(refusal);
        else this.#moved();
      },
    };
  }

  #takeError(
    extension: Extension,
    state: "InitError" | "ExitError",
    headers: ArrivedHead["headers"],
    connection: Connection,
  ): RequestTaker {
    return new Collects(connection, BODY_BYTES, (body) => {
      const type = headers.get(ERROR_TYPE_HEADER) ?? "";
      if (type === "") return extensionProblem("MissingHeader", "Lambda-Extension-Function-Error-Type not found");
      const refusal = extension.fail(state, readReport(type, body));
      if (refusal !== undefined) return refusal;
      // It says that it cannot start. An exit is waited for: it may have something left to do.
      const said = `the extension ${quoted(shown(extension.name))} has reported ${extension.report?.message ?? type}`;
      if (state === "InitError") this.#fail("Extension.InitError", extension.report?.message ?? type, said);
      else this.#moved();
      return ACCEPTED;
    });
  }

  #send(kind: ExtensionEvent, event: Readonly<Record<string, unknown>>): readonly Extension[] {
    const answer = jsonAnswer(200, { eventType: kind, ...event });
    const told = this.#all.filter((extension) => extension.listensFor(kind));
    for (const extension of told) extension.send(answer);
    return told;
  }

  #moved(): void {
    if (this.#start !== undefined && this.#all.every(({ isRegistered }) => isRegistered)) {
      this.#start();
      this.#start = undefined;
    }
    this.#listener.moved();
  }

  #fail(error_type: string, error_message: string, what: string): void {
    this.#listener.failed({ error_type, error_message, message: `${error_type}: ${what}` });
  }
}

/** Reads the events of a request to register, or returns why there are none. */
function readEvents(body: string): readonly string[] | ApiAnswer {
  const malformed = (why: string) => jsonAnswer(403, { errorMessage: why, errorType: "InvalidRequestFormat" });
  try {
    const document: unknown = JSON.parse(body);
    if (typeof document !== "object" || document === null) return malformed("The body is not an object");
    if (
      "configurationKeys" in document &&
      Array.isArray(document.configurationKeys) &&
      document.configurationKeys.length > 0
    )
      return malformed("configurationKeys are deprecated; use environment variables instead");
    const events: unknown = "events" in document ? (document.events ?? []) : [];
    if (!Array.isArray(events)) return malformed('"events" is not a list');
    return events.every((event) => typeof event === "string") ? events : malformed('"events" is not a list of names');
  } catch {
    return malformed("The body is not JSON");
  }
}

function isEvent(event: string): event is ExtensionEvent {
  return EXTENSION_EVENTS.some((known) => known === event);
}

function refusalOf(event: string, isProgram: boolean): string | undefined {
  if (!isEvent(event)) return "ErrorInvalidEventType";
  return event === "SHUTDOWN" && !isProgram ? "ShutdownEventNotSupportedForInternalExtension" : undefined;
}

/** Returns a name as people read it: the bytes that it came as are characters. */
function shown(name: string): string {
  return Buffer.from(name, "latin1").toString();
}

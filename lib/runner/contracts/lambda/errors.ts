import { type ApiAnswer, jsonAnswer } from "./connection.ts";

/** The answers of the Runtime API that are not about one call, as AWS's own gives them. */
export const ACCEPTED: ApiAnswer = jsonAnswer(202, { status: "OK" });
export const PONG: ApiAnswer = { status: 200, headers: [["Content-Type", "text/plain"]], body: Buffer.from("pong") };
const STATE_REFUSED = "State transition is not allowed";
export const OUT_OF_ORDER: ApiAnswer = problem(403, "InvalidStateTransition", STATE_REFUSED);
export const OTHER_CALL: ApiAnswer = problem(400, "InvalidRequestID", "Invalid request ID");
export const UNKNOWN_PATH: ApiAnswer = problem(404, "NotFound", "The Runtime API has no such path");
export const OTHER_METHOD: ApiAnswer = problem(405, "MethodNotAllowed", "The Runtime API has no such method here");
export const BAD_MODE: ApiAnswer = problem(400, "InvalidFunctionResponseMode", "Invalid function response mode");

/** The answers to extensions that want output by the Logs or the Telemetry API, of an environment that has neither. */
export const NO_LOGS: ApiAnswer = problem(202, "Logs.NotSupported", "Logs API is not supported");
export const NO_TELEMETRY: ApiAnswer = problem(202, "Telemetry.NotSupported", "Telemetry API is not supported");

/** Returns the answer to an extension whose request is refused. */
export function extensionProblem(errorType: string, errorMessage: string): ApiAnswer {
  return problem(403, `Extension.${errorType}`, errorMessage);
}

/** Returns the answer to a request that the state of its extension does not allow. */
export function invalidState(from: string, to: string, extension: string): ApiAnswer {
  const why = `State transition from ${from} to ${to} failed for extension ${extension}. Error: ${STATE_REFUSED}`;
  return extensionProblem("InvalidExtensionState", why);
}

/** Returns the answer to a body that is too long. */
export function tooLarge(limit: number): ApiAnswer {
  return problem(413, "RequestEntityTooLarge", `Exceeded maximum allowed payload size (${limit} bytes).`);
}

function problem(status: number, errorType: string, errorMessage: string): ApiAnswer {
  return jsonAnswer(status, { errorMessage, errorType });
}

/** The types of errors that a runtime, or an extension, may name in a header. */
const ERROR_TYPE = /^(?:Runtime|Function|Extension)\.[A-Z][A-Za-z]+$/;
/** The most characters of what a function says of its error that a message has. */
const MESSAGE_CHARACTERS = 300;

/** A function's own report of an error. */
export interface ErrorReport {
  readonly error_type: string;
  /** For people: what the report says, in one line. */
  readonly message: string;
}

/** Reads a report: what its header or its body says of the type, and the message in its body. Any body is a report. */
export function readReport(header: string | undefined, body: Uint8Array): ErrorReport {
  const { errorType, errorMessage } = fieldsOf(body);
  const named = header !== undefined && ERROR_TYPE.test(header) ? header : undefined;
  const error_type = errorType ?? named ?? (header === undefined || header === "" ? "Unhandled" : "Runtime.Unknown");
  const text = errorMessage === undefined ? error_type : `${error_type}: ${errorMessage}`;
  return { error_type, message: text.replaceAll(/\s+/g, " ").slice(0, MESSAGE_CHARACTERS) };
}

function fieldsOf(body: Uint8Array): { readonly errorType?: string; readonly errorMessage?: string } {
  try {
    const document: unknown = JSON.parse(Buffer.from(body).toString());
    if (typeof document !== "object" || document === null) return {};
    const type = "errorType" in document ? document.errorType : undefined;
    const message = "errorMessage" in document ? document.errorMessage : undefined;
    return {
      ...(typeof type === "string" && type !== "" && { errorType: type.slice(0, MESSAGE_CHARACTERS) }),
      ...(typeof message === "string" && { errorMessage: message }),
    };
  } catch {
    return {};
  }
}

/** Marks a request as made by this page: the server refuses changes with a login that come without it. */
const PAGE_HEADER = { "X-Slipway-Page": "1" } as const;

/** An error of the API: the server's own words, which say what to do. */
export class ApiError extends Error {
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  readonly reason: string;
  readonly request_id: string | undefined;

  constructor(message: string, details: { status: number; reason: string; request_id?: string | undefined }) {
    super(message);
    this.name = "ApiError";
    this.status = details.status;
    this.reason = details.reason;
    this.request_id = details.request_id;
  }
}

/** Is dispatched on `window` when the server no longer accepts the login. */
export const LOGGED_OUT = "slipway:logged-out";

/** The parts of an envelope that say why something failed. */
export interface Failure {
  readonly message?: string;
  readonly reason?: string;
  readonly request_id?: string;
}

/** The part of an envelope that is looked at before it is known what it has. */
interface Envelope extends Failure {
  readonly success: boolean;
  readonly data: unknown;
}

/** Sends a request to the server and returns its answer, of whatever kind. Throws an `ApiError` if there is none. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(path, { ...init, credentials: "same-origin", headers: { ...PAGE_HEADER, ...headersOf(init) } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    const isRead = (init.method ?? "GET") === "GET";
    const remedy = isRead ? "; this page keeps trying." : ": try again in a moment.";
    throw new ApiError(`The server does not answer. It may be stopping or starting again${remedy}`, {
      status: 0,
      reason: "unreachable",
    });
  }
}

/**
 * Asks the API and returns the data of its answer. The type is the one that the server's own code has for it (lib/domain).
 * Throws an `ApiError`.
 */
export async function ask<T>(
  path: string,
  options: { method?: string; body?: unknown; signal?: AbortSignal } = {},
): Promise<T> {
  const { method = "GET", body, signal } = options;
  const init: RequestInit = { method, ...(signal !== undefined && { signal }) };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  const response = await send(path, init);
  const envelope = response.ok ? await envelopeOf(response) : undefined;
  if (envelope?.success === true) return envelope.data as T; // the server checks its answers itself
  throw await errorOf(response, path);
}

/** Returns the error that an answer other than a success has, also to a reader who is not logged in any more. */
export async function errorOf(response: Response, path: string): Promise<ApiError> {
  if (response.status === 401 && path !== "/ui/login") window.dispatchEvent(new Event(LOGGED_OUT));
  return failed((await envelopeOf(response)) ?? {}, response.status);
}

/** Returns the error that an envelope has. */
export function failed({ message, reason = "unknown", request_id }: Failure, status: number): ApiError {
  const text = message ?? `The server answered with status ${status} and no reason: see its log`;
  return new ApiError(text, { status, reason, request_id });
}

/** Returns the text of an answer that is no envelope; throws an `ApiError` unless it is a success. */
export async function askText(path: string, signal?: AbortSignal): Promise<string> {
  const response = await send(path, signal === undefined ? {} : { signal });
  const text = await response.text();
  if (response.ok) return text;
  const message = text.slice(0, 300) || `The server answered with status ${response.status}`;
  throw new ApiError(message, { status: response.status, reason: "unknown" });
}

/** Returns the part of a path that stands for a name or an id. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

/** Returns a path with a query of the parameters that are neither empty nor undefined. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

async function envelopeOf(response: Response): Promise<Envelope | undefined> {
  const value: unknown = await response.json().catch(() => undefined);
  return value !== null && typeof value === "object" && "success" in value ? (value as Envelope) : undefined; // as checked
}

function headersOf({ headers }: RequestInit): Record<string, string> {
  return headers === undefined ? {} : Object.fromEntries(new Headers(headers));
}

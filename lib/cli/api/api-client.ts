import { type Config, ConfigError } from "../../config/config.ts";
import { codeOf, messageOf, type Reason } from "../../domain/errors.ts";
import { readSmallFile } from "../../private-files.ts";
import { fileProblem } from "../file-problem.ts";
import { inCommands } from "./command-words.ts";
import { isThisMachine } from "./server-url.ts";

/** The server that a command talks to, and the key that it sends. */
export interface Connection {
  readonly url: string;
  /** Null for a server that needs none. */
  readonly key: string | null;
  /** A file with the certificates (PEM) that the server's is checked against; null for the system's. */
  readonly ca: string | null;
  /** True for the server whose own options these are, on this machine: its certificate need not have its name. */
  readonly isOwn: boolean;
  /** `on` sends the key over plain http to another machine, too. */
  readonly allowHttp: Config["allowHttp"];
}

/** A request to the API of a running server. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  /** Parameters of the URL; those that are undefined are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as it is if it is a text, bytes or a file, else as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The time that the whole answer may take, in milliseconds; 60,000 by default, 0 for no limit. */
  readonly timeout_ms?: number;
  /** Ends the request. */
  readonly signal?: AbortSignal;
}

/** The time that the server may take for what does not wait for an image or a function, in milliseconds. */
const TIMEOUT_MS = 60_000;

/** An answer that says why the server did not do what it was asked for. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** Undefined if it is not an answer of Slipway. */
  readonly reason: Reason | undefined;

  constructor(message: string, status: number, reason: Reason | undefined) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Talks to a running server. */
export class ApiClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get url(): string {
    return this.#connection.url;
  }

  /** Sends a request without a key and returns the answer, whatever its status. */
  async ask(request: ApiRequest): Promise<Response> {
    return this.#fetch(request, {});
  }

  /** Sends a request with the key and returns the answer, whatever its status. Throws if there is none. */
  async send(request: ApiRequest): Promise<Response> {
    const { key } = this.#connection;
    if (key !== null) this.#checkConfidential();
    return this.#explained(
      this.#fetch(request, key === null ? {} : { Authorization: `Bearer ${key}` }),
      request.signal,
    );
  }

  /** Sends a request and returns the text of its answer. Throws an `ApiError` unless it succeeds. */
  async text(request: ApiRequest): Promise<string> {
    const response = await this.send(request);
    if (!response.ok) throw await this.errorOf(response);
    return this.#explained(response.text());
  }

  /** Sends a request and returns the `data` of its answer: what the API promises for the path. Throws an `ApiError`. */
  async data<T>(request: ApiRequest): Promise<T> {
    const text = await this.text(request);
    try {
      const { data } = JSON.parse(text) as { data: T }; // the envelope of a success
      return data;
    } catch (error) {
      throw new Error(`${this.url} does not answer as Slipway does: check --url`, { cause: error });
    }
  }

  /** Reads the error of an answer that is not a success, and adds what to do about it on the command line. */
  async errorOf(response: Response): Promise<ApiError> {
    const { message, reason } = envelopeIn(await response.text());
    if (message === undefined) {
      return new ApiError(
        `${this.url} answers ${response.status}, and not as Slipway does: check --url`,
        response.status,
        undefined,
      );
    }
    return new ApiError(this.#advised(message, response.status), response.status, reason);
  }

  /** Waits for an answer, or a part of it. Throws an error that says what to do if it does not come. */
  async #explained<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof ConfigError || signal?.aborted === true) throw error;
      throw this.noAnswer(error);
    }
  }

  /** Makes the error for an answer that does not come, or not to its end. */
  noAnswer(cause: unknown): Error {
    return new Error(`no answer from ${this.url}: ${reasonOf(cause)}. ${this.#remedy(cause)}`, { cause });
  }

  /** Returns what to do if there is no answer. */
  #remedy(error: unknown): string {
    if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(codeOf(error)))
      return "Name the file with its certificate by --ca";
    const isAway = REFUSED.has(codeOf(error)) && isThisMachine(this.url);
    const first = isAway ? 'Start the server with "slipway serve"' : "Check the address";
    return `${first}, or name another with --url or "slipway login"`;
  }

  #advised(said: string, status: number): string {
    const message = inCommands(said);
    if (status !== 401) return message;
    const login = `"slipway login ${this.url}", or set API_KEY`;
    return this.#connection.key === null
      ? `${this.url} needs an API key: log in with ${login}`
      : `${message}. Log in again with ${login}`;
  }

  async #fetch(
    { method, path, query = {}, body, timeout_ms = TIMEOUT_MS, signal, ...request }: ApiRequest,
    headers: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const url = new URL(this.url + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return fetch(url, {
      method,
      headers: { Accept: "application/json", ...request.headers, ...headers },
      ...(body !== undefined && { body: isBody(body) ? body : JSON.stringify(body) }),
      signal: AbortSignal.any([
        ...(signal === undefined ? [] : [signal]),
        ...(timeout_ms > 0 ? [AbortSignal.timeout(timeout_ms)] : []),
      ]),
      // The key is for this server alone.
      redirect: "error",
      tls: await this.#tls(),
      // Bun drops a connection that is silent for five minutes.
      timeout: timeout_ms === 0 ? false : timeout_ms,
    });
  }

  /** Throws a `ConfigError` if the key could be read on its way. */
  #checkConfidential(): void {
    const { allowHttp, url } = this.#connection;
    if (allowHttp === "on" || url.startsWith("https:") || isThisMachine(url)) return;
    throw new ConfigError(
      `The API key would go to ${url} unencrypted, where everyone on the way can read it: use --url https://..., ` +
        "or --allow-http on if the network is yours",
    );
  }

  /** Returns how to check the server's certificate. */
  async #tls(): Promise<{ readonly ca?: string; readonly rejectUnauthorized?: boolean }> {
    const { ca, isOwn } = this.#connection;
    if (ca === null) return isOwn && isThisMachine(this.url) ? { rejectUnauthorized: false } : {};
    try {
      return { ca: readSmallFile(ca) };
    } catch (error) {
      throw new ConfigError(`Cannot read SLIPWAY_CA "${ca}": ${fileProblem(error)}`, { cause: error });
    }
  }
}

function isBody(body: unknown): body is string | Uint8Array<ArrayBuffer> | Blob {
  return typeof body === "string" || body instanceof Uint8Array || body instanceof Blob;
}

const REFUSED: ReadonlySet<string> = new Set(["ECONNREFUSED", "ConnectionRefused"]);

/** Returns why there is no answer. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError") return "it takes too long";
  if (REFUSED.has(codeOf(error))) return "nothing listens there";
  if (/ENOTFOUND|EAI_/.test(codeOf(error))) return "there is no host of that name";
  // Without what Bun adds for its own users.
  return messageOf(error).replace(/\.? For more information.*$|\.$/s, "");
}

/** Reads the envelope of an error, or a problem document; empty if a text is neither. */
function envelopeIn(text: string): { readonly message?: string; readonly reason?: Reason } {
  try {
    const parsed: unknown = JSON.parse(text);
    const { message, reason } = parsed as { message?: unknown; reason?: unknown }; // anything but null has properties
    // The server's reasons are those of this version, or newer ones that no code here asks for.
    if (typeof message === "string")
      return { message, ...(typeof reason === "string" && { reason: reason as Reason }) };
  } catch {
    // It is not JSON.
  }
  return {};
}

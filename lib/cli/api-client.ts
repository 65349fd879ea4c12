import { type Config, ConfigError } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { readSmallFile } from "../private-files.ts";
import { isThisMachine, serverUrl } from "./server-url.ts";

/** A request to the API of a running server. */
interface ApiRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string;
  readonly timeout_ms: number;
}

interface ApiReply {
  readonly ok: boolean;
  readonly text: string;
}

/** Talks to the server that a configuration describes. */
export class ApiClient {
  readonly url: string;
  readonly #config: Config;

  constructor(config: Config) {
    this.url = serverUrl(config);
    this.#config = config;
  }

  /** Sends a request without a key and returns the reply, whatever its status. */
  async ask(request: ApiRequest): Promise<ApiReply> {
    return this.#send(request, {});
  }

  /** Sends a request with the configured key and returns the body of the reply. Throws if there is none, or an error. */
  async call(request: ApiRequest): Promise<string> {
    const key = await this.#key();
    if (key !== null) this.#checkConfidential();
    const reply = await this.#send(request, {
      Accept: "application/yaml, application/json",
      ...(key !== null && { Authorization: `Bearer ${key}` }),
    }).catch((error: unknown) => {
      throw new Error(
        `no answer from ${this.url}: ${messageOf(error)}. Name the server with --url, or --host and --port`,
        {
          cause: error,
        },
      );
    });
    if (reply.ok) return reply.text;
    throw new Error(messageIn(reply.text));
  }

  async #send(
    { method, path, body, timeout_ms }: ApiRequest,
    headers: Readonly<Record<string, string>>,
  ): Promise<ApiReply> {
    const reply = await fetch(this.url + path, {
      method,
      headers,
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(timeout_ms),
      // The key is for this server alone.
      redirect: "error",
      tls: await this.#tls(),
      // Besides the signal: Bun drops a connection that is silent for five minutes.
      timeout: timeout_ms,
    });
    return { ok: reply.ok, text: await reply.text() };
  }

  /** Throws a `ConfigError` if the key could be read on its way. */
  #checkConfidential(): void {
    const { allowHttp } = this.#config;
    if (allowHttp === "on" || this.url.startsWith("https:") || isThisMachine(this.url)) return;
    throw new ConfigError(
      `The API key would go to ${this.url} unencrypted, where everyone on the way can read it: use --url https://..., ` +
        "or --allow-http on if the network is yours",
    );
  }

  /** Returns how to check the server's certificate. The one of a server on this machine need not have its name. */
  async #tls(): Promise<{ readonly ca?: string; readonly rejectUnauthorized?: boolean }> {
    const { ca, url } = this.#config;
    if (ca === null) return url === null && isThisMachine(this.url) ? { rejectUnauthorized: false } : {};
    try {
      return { ca: readSmallFile(ca) };
    } catch (error) {
      throw new ConfigError(`Cannot read SLIPWAY_CA "${ca}": ${messageOf(error)}`, { cause: error });
    }
  }

  async #key(): Promise<string | null> {
    const { apiKey, apiKeyFile: file } = this.#config;
    if (file === null) return apiKey;
    try {
      return readSmallFile(file).trim();
    } catch (error) {
      throw new ConfigError(`Cannot read API_KEY_FILE "${file}": ${messageOf(error)}`, { cause: error });
    }
  }
}

/** Returns the message of an error envelope, or the whole text if it is not one. */
function messageIn(text: string): string {
  try {
    return (JSON.parse(text) as { message: string }).message; // the envelope of an error
  } catch {
    return text;
  }
}

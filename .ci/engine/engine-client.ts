/** An error reply of the engine, with its own message. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface EngineRequest {
  readonly body?: Bun.BodyInit;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/**
 * Sends the few requests that set-up and tests need to the Docker Engine API. It is not the server's own client
 * (`lib/docker`): a test must not check that client with itself, and set-up runs before packages are installed.
 */
export class EngineClient {
  /** In the form of DOCKER_HOST: `unix:///path/to/docker.sock`. */
  readonly host: string;
  readonly socket: string;

  constructor(host: string) {
    this.host = host;
    this.socket = host.slice("unix://".length);
  }

  /** Returns whether an engine answers within the given time. */
  async ping(timeoutMs: number): Promise<boolean> {
    try {
      const response = await this.request("GET", "/_ping", { signal: AbortSignal.timeout(timeoutMs) });
      return (await response.text()) === "OK";
    } catch {
      return false;
    }
  }

  /** Sends a request; an error status throws an `EngineError`. */
  async request(method: string, path: string, { body, headers, signal }: EngineRequest = {}): Promise<Response> {
    const response = await fetch(`http://engine${path}`, {
      method,
      unix: this.socket,
      ...(body === undefined ? {} : { body }),
      ...(headers === undefined ? {} : { headers }),
      ...(signal === undefined ? {} : { signal }),
      // An engine that builds or pulls may be silent for a long time.
      timeout: false,
    });
    if (response.status >= 400) throw new EngineError(response.status, await errorText(response));
    return response;
  }

  /** Sends a request that is answered with one JSON document. */
  async json(method: string, path: string, request: EngineRequest = {}): Promise<unknown> {
    return (await this.request(method, path, request)).json();
  }

  /** Sends a request that is answered with a progress stream (pull, build, import); returns its text, throws its errors. */
  async progress(method: string, path: string, request: EngineRequest = {}): Promise<string> {
    const text = await (await this.request(method, path, request)).text();
    let output = "";
    for (const line of text.split("\n").filter((part) => part.trim() !== "")) {
      const step = JSON.parse(line) as { error?: string; stream?: string; status?: string }; // the engine's own format
      if (step.error !== undefined) throw new EngineError(500, `${step.error}\n${output.slice(-2000)}`);
      output += step.stream ?? (step.status === undefined ? "" : `${step.status}\n`);
    }
    return output;
  }
}

async function errorText(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const body = JSON.parse(text) as { message?: string }; // the engine's own format
    return body.message ?? text;
  } catch {
    return text;
  }
}

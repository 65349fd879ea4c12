/** A request to the API of a running server. */
interface DeployRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON, unless it is a file. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The time that the whole answer may take, in milliseconds; 0 for no limit. */
  readonly timeout_ms?: number;
  readonly signal?: AbortSignal;
}

/** The part of the API's client that a deployment needs. */
export interface DeployApi {
  readonly url: string;
  /** Sends a request and returns the answer, whatever its status. */
  send(request: DeployRequest): Promise<Response>;
  /** Sends a request and returns the `data` of its answer; throws what `errorOf` returns unless it succeeds. */
  data<T>(request: DeployRequest): Promise<T>;
  /** Returns the error that an answer tells. */
  errorOf(response: Response): Promise<Error & { readonly status: number }>;
}

/** Where a deployment prints. */
export interface DeployOutput {
  /** Tells the person a line that is not the result. */
  note(text: string): void;
  /** Passes on what a build prints, in pieces of any size. */
  progress(text: string): void;
}

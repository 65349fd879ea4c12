/** Thrown if the engine answers with a status of 400 or above. The requester knows what that means for its caller. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly operation: string;
  readonly status: number;

  constructor(operation: string, status: number, message: string) {
    super(message);
    this.operation = operation;
    this.status = status;
  }
}

/** Returns whether something thrown is the engine's answer with one of these statuses. */
export function isEngineStatus(thrown: unknown, ...statuses: readonly number[]): thrown is EngineError {
  return thrown instanceof EngineError && statuses.includes(thrown.status);
}

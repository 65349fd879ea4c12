import { AppError } from "../../domain/errors.ts";

/** Returns the error for calls that come while the server stops. */
export function stopped(): AppError {
  return new AppError("shutting_down", "The server is stopping: try again in a moment", { retry_after_s: 5 });
}

/** Returns the error for a function whose instance would be larger than all memory that instances may have. */
export function neverFits(memoryBytes: number): AppError {
  return new AppError(
    "overloaded",
    `An instance with ${memoryBytes} bytes of memory does not fit into this server's memory budget: lower "memory_bytes" or raise MEMORY_BUDGET`,
    { retry_after_s: 60 },
  );
}

/** Returns the error for a call of another server that would have to wait: that server makes it itself. */
export function notReady(): AppError {
  return new AppError(
    "overloaded",
    "No instance is ready for the call: the server that has passed it on makes it itself",
  );
}

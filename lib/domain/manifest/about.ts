import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";

/** The kinds of parts that a manifest has. */
export type Subject = "Function" | "Route";

/** Runs `work` for a part of a manifest; the message of an error names that part. */
export function about<T>(kind: Subject, name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw errorAbout(kind, name, error);
  }
}

/** Returns the same error with the part of the manifest that it is about; one that is not ours stays as it is. */
export function errorAbout(kind: Subject, name: string, error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  const { reason, message, retry_after_s } = error;
  return new AppError(reason, `${kind} ${quoted(name)}: ${message}`, {
    cause: error,
    ...(retry_after_s !== undefined && { retry_after_s }),
  });
}

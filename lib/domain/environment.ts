import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "./errors.ts";
import { quoted } from "./quoted.ts";
import { ENVIRONMENT_BYTES, ENVIRONMENT_ENTRIES, ENVIRONMENT_ENTRY_BYTES } from "./limits.ts";

/** Variables for the function's process, besides those of its image. Values are kept byte for byte. */
export const Environment = Type.Unsafe<Record<string, string>>(
  // Not Type.Record: its pattern lets a key with a line separator (U+2028) have a value of any type.
  Type.Object(
    {},
    {
      additionalProperties: Type.String(),
      description:
        "Variables for the function's process, besides those of its image. Newlines in values are kept. " +
        "The server sets REQUEST_ID and CONTEXT_PATH; they cannot be given.",
      examples: [{ GREETING: "hello" }],
    },
  ),
);
export type Environment = Static<typeof Environment>;

/** Variables that the gate sets for every invocation. */
export const RESERVED_KEYS: readonly string[] = ["REQUEST_ID", "CONTEXT_PATH"];

/** Returns what is wrong with an entry, or undefined. */
export function environmentProblem(key: string, value: string): string | undefined {
  const shown = quoted(key);
  if (key === "") return "a key is empty: give every variable a name";
  if (RESERVED_KEYS.includes(key)) return `${shown} is set by the server: choose another name`;
  if (key.includes("=")) return `the key ${shown} contains "=": remove it`;
  // oxlint-disable-next-line no-control-regex -- it looks for control characters
  if (/[\u0000-\u001f\u007f]/.test(key)) return `the key ${shown} contains a control character: remove it`;
  if (!key.isWellFormed()) return `the key ${shown} contains half of a surrogate pair, which no process can receive`;
  if (!value.isWellFormed()) {
    return `the value of ${shown} contains half of a surrogate pair, which no process can receive`;
  }
  if (value.includes("\0")) return `the value of ${shown} contains a NUL character, which no process can receive`;
  if (Buffer.byteLength(key) + Buffer.byteLength(value) + 1 > ENVIRONMENT_ENTRY_BYTES) {
    return `${shown} is longer than ${ENVIRONMENT_ENTRY_BYTES} bytes, the kernel's limit for a variable: send it in the request`;
  }
  return undefined;
}

/** Throws `invalid_request` for the first entry that cannot be given to a process. */
export function checkEnvironment(environment: Environment): void {
  const entries = Object.entries(environment);
  if (entries.length > ENVIRONMENT_ENTRIES) {
    throw new AppError(
      "invalid_request",
      `"environment" has ${entries.length} entries: at most ${ENVIRONMENT_ENTRIES} are allowed`,
    );
  }
  let bytes = 0;
  for (const [key, value] of entries) {
    const problem = environmentProblem(key, value);
    if (problem !== undefined) throw new AppError("invalid_request", `Invalid "environment": ${problem}`);
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value) + 2;
  }
  if (bytes > ENVIRONMENT_BYTES) {
    throw new AppError("invalid_request", `"environment" has ${bytes} bytes: at most ${ENVIRONMENT_BYTES} are allowed`);
  }
}

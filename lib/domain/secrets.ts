import { Type, type Static } from "@sinclair/typebox";
import { type Environment, RESERVED_KEYS } from "./environment.ts";
import { AppError } from "./errors.ts";
import { ENVIRONMENT_BYTES, NAME_LENGTH, SECRET_BYTES, SECRETS_OF_FUNCTION_BYTES } from "./limits.ts";
import { Nullable, Timestamp } from "./types.ts";

/** The name of a secret. It is also the name of its file, so it contains nothing that is special in a path. */
export const SecretName = Type.String({
  pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
  minLength: 1,
  maxLength: NAME_LENGTH,
  description: `Letters, digits, "_", "-" and ".", not starting with "."; at most ${NAME_LENGTH} characters.`,
  examples: ["database-password"],
});

/** The record of a secret, without its value. */
export const Secret = Type.Object({
  name: SecretName,
  used_by: Type.Array(
    Type.Object({
      id: Type.String({
        description: "The id of the function.",
        examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
      }),
      name: Nullable(Type.String({ description: "Its name.", examples: ["hello-world"] })),
    }),
    { description: "The functions that use it, oldest first." },
  ),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Secret = Static<typeof Secret>;

/** The body of `PUT /v1/secrets/:name`. */
export const PutSecret = Type.Object(
  {
    value: Type.String({
      // Keeps the value out of messages and logs, even if it is invalid.
      writeOnly: true,
      description: `The value; it is never shown again. At most ${SECRET_BYTES} bytes of UTF-8.`,
      examples: ["correct horse battery staple"],
    }),
  },
  { additionalProperties: false },
);
export type PutSecret = Static<typeof PutSecret>;

/** A secret of a function, and how it is passed: as a variable or as a file. */
export const SecretUse = Type.Object(
  {
    name: SecretName,
    environment: Nullable(
      Type.String({
        pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
        maxLength: 255,
        description:
          "The variable of the function's process that holds the secret; null for the file `/run/secrets/<name>`.",
        examples: ["DATABASE_PASSWORD"],
      }),
    ),
  },
  { additionalProperties: false },
);
export type SecretUse = Static<typeof SecretUse>;

/** The secrets that a call hands to a function. */
export interface SecretValues {
  /** Variables for its process, besides `environment`. */
  readonly environment: Readonly<Record<string, string>>;
  /** Files below `/run/secrets`. */
  readonly files: readonly { readonly name: string; readonly value: string }[];
}

/** For functions without secrets. */
export const NO_SECRETS: SecretValues = { environment: {}, files: [] };

/** Throws `invalid_request` for a value that cannot be stored. */
export function checkSecretValue(value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes > SECRET_BYTES) {
    throw new AppError("invalid_request", `The value has ${bytes} bytes: at most ${SECRET_BYTES} are allowed`);
  }
  if (!value.isWellFormed()) {
    throw new AppError(
      "invalid_request",
      "The value contains half of a surrogate pair, which is not text: encode it, for example in base64",
    );
  }
}

/** Throws `invalid_request` if two uses of secrets, or a use and a variable of `environment`, have the same target. */
export function checkSecretUses(secrets: readonly SecretUse[], environment: Environment): void {
  const files = new Set<string>();
  const variables = new Set<string>();
  for (const { name, environment: variable } of secrets) {
    const [taken, key] = variable === null ? [files, name] : [variables, variable];
    const shown = variable === null ? `the file "${name}"` : `the variable "${variable}"`;
    const problem = taken.has(key)
      ? `${shown} appears twice: leave one of them out`
      : variable === null
        ? undefined
        : variableProblem(variable, environment);
    if (problem !== undefined) throw new AppError("invalid_request", `Invalid "secrets": ${problem}`);
    taken.add(key);
  }
}

function variableProblem(variable: string, environment: Environment): string | undefined {
  if (RESERVED_KEYS.includes(variable)) return `"${variable}" is set by the server: choose another variable`;
  if (Object.hasOwn(environment, variable)) {
    return `the variable "${variable}" is in "environment" too: remove one of them`;
  }
  return undefined;
}

/** Returns what is wrong with the total size of a function's secrets, or undefined; `bytesOf` returns a value's length. */
export function secretSizeProblem(
  fn: { readonly secrets: readonly SecretUse[]; readonly environment: Environment },
  bytesOf: (name: string) => number,
): string | undefined {
  let all = 0;
  let variables = 0;
  for (const { name, environment: variable } of fn.secrets) {
    const bytes = bytesOf(name);
    all += bytes;
    if (variable !== null) variables += Buffer.byteLength(variable) + bytes + 2;
  }
  if (all > SECRETS_OF_FUNCTION_BYTES) {
    return `its secrets have ${all} bytes in total: at most ${SECRETS_OF_FUNCTION_BYTES} are allowed`;
  }
  if (variables === 0) return undefined;
  for (const [key, value] of Object.entries(fn.environment)) {
    variables += Buffer.byteLength(key) + Buffer.byteLength(value) + 2;
  }
  return variables > ENVIRONMENT_BYTES
    ? `its variables have ${variables} bytes in total: at most ${ENVIRONMENT_BYTES} are allowed; make some secrets files`
    : undefined;
}

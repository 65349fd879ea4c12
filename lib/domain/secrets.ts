import { Type, type Static } from "@sinclair/typebox";
import { type Environment, RESERVED_KEYS } from "./environment.ts";
import { AppError } from "./errors.ts";
import { ENVIRONMENT_BYTES, NAME_LENGTH, SECRET_BYTES, SECRETS_OF_FUNCTION_BYTES } from "./limits.ts";
import { Nullable, Timestamp } from "./types.ts";

/** The name of a secret: also that of its file, so nothing that a path could take apart. */
export const SecretName = Type.String({
  pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
  minLength: 1,
  maxLength: NAME_LENGTH,
  description: `Letters, digits, "_", "-" and ".", not beginning with "."; at most ${NAME_LENGTH}.`,
  examples: ["database-password"],
});

/** What is told of a secret: never its value. */
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
    { description: "The functions that name it, oldest first." },
  ),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Secret = Static<typeof Secret>;

/** The body of `PUT /v1/secrets/:name`. */
export const PutSecret = Type.Object(
  {
    value: Type.String({
      // Nothing that is marked so is shown in a message or a log, not even where it is wrong.
      writeOnly: true,
      description: `The value; it is never shown again. At most ${SECRET_BYTES} bytes of UTF-8.`,
      examples: ["correct horse battery staple"],
    }),
  },
  { additionalProperties: false },
);
export type PutSecret = Static<typeof PutSecret>;

/** How a function is given a secret. */
export const SecretUse = Type.Object(
  {
    name: SecretName,
    environment: Nullable(
      Type.String({
        pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
        maxLength: 255,
        description:
          "The variable that the gate sets for the function's process. Null makes it the file `/run/secrets/<name>`.",
        examples: ["DATABASE_PASSWORD"],
      }),
    ),
  },
  { additionalProperties: false },
);
export type SecretUse = Static<typeof SecretUse>;

/** What a function is given at a call. */
export interface SecretValues {
  /** Variables for its process, beside `environment`. */
  readonly environment: Readonly<Record<string, string>>;
  /** Files below `/run/secrets`. */
  readonly files: readonly { readonly name: string; readonly value: string }[];
}

/** What a function that names no secret is given. */
export const NO_SECRETS: SecretValues = { environment: {}, files: [] };

/** Throws `invalid_request` for a value that cannot be kept. */
export function checkSecretValue(value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes > SECRET_BYTES) {
    throw new AppError("invalid_request", `The value has ${bytes} bytes: at most ${SECRET_BYTES} are allowed`);
  }
  if (!value.isWellFormed()) {
    throw new AppError(
      "invalid_request",
      "The value contains half of a surrogate pair, which is no text: encode it, in base64 for example",
    );
  }
}

/** Throws `invalid_request` where two uses of secrets, or one and a variable of `environment`, would be in each other's way. */
export function checkSecretUses(secrets: readonly SecretUse[], environment: Environment): void {
  const files = new Set<string>();
  const variables = new Set<string>();
  for (const { name, environment: variable } of secrets) {
    const [taken, key] = variable === null ? [files, name] : [variables, variable];
    const shown = variable === null ? `the file "${name}"` : `the variable "${variable}"`;
    const problem = taken.has(key)
      ? `${shown} is there twice: leave one of them out`
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
    return `the variable "${variable}" is in "environment", too: take it out of one of them`;
  }
  return undefined;
}

/** What is wrong with the values of a function's secrets together, or nothing; `bytesOf` tells a value's length. */
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
    return `its secrets have ${all} bytes together: at most ${SECRETS_OF_FUNCTION_BYTES} are allowed`;
  }
  if (variables === 0) return undefined;
  for (const [key, value] of Object.entries(fn.environment)) {
    variables += Buffer.byteLength(key) + Buffer.byteLength(value) + 2;
  }
  return variables > ENVIRONMENT_BYTES
    ? `its variables have ${variables} bytes together: at most ${ENVIRONMENT_BYTES} are allowed; make some secrets files`
    : undefined;
}

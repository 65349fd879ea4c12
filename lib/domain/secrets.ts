import { Type, type Static } from "@sinclair/typebox";
import { NAME_LENGTH } from "./limits.ts";
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
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Secret = Static<typeof Secret>;

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

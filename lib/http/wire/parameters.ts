import { t } from "elysia";

/**
 * The keyword of a parameter's schema that holds what the OpenAPI document has in its place. Parameters arrive as texts and
 * are checked as such: Elysia's own conversions take anything, or have no message that says which parameter was wrong.
 */
export const DOCUMENTED = "x-documented";

/** Returns the schema of a `true` or `false` in a query: a text here, a boolean in the document. */
export function flag(description: string, example: "true" | "false" = "true") {
  return t.Optional(
    t.Union([t.Literal("true"), t.Literal("false")], {
      description,
      [DOCUMENTED]: { type: "boolean", example: example === "true" },
    }),
  );
}

interface WholeNumber {
  readonly description: string;
  readonly minimum: number;
  readonly maximum?: number;
  readonly example: number;
}

/** Returns the schema of a whole number in a path or a query: a text here, an integer in the document. */
export function wholeNumber({ description, ...documented }: WholeNumber) {
  return t.String({ description, [DOCUMENTED]: { type: "integer", ...documented } });
}

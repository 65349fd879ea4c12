import { t } from "elysia";

/** Returns the schema of a `true` or `false` in a query. It stays a string: Elysia's own conversion takes anything. */
export function flag(description: string, example: "true" | "false" = "true") {
  return t.Optional(t.Union([t.Literal("true"), t.Literal("false")], { description, examples: [example] }));
}

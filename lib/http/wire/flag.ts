import { t } from "elysia";

/** The schema of a query parameter that is `true` or `false`. It stays a string: Elysia's own conversion takes anything. */
export function flag(description: string, example: "true" | "false" = "true") {
  return t.Optional(t.Union([t.Literal("true"), t.Literal("false")], { description, examples: [example] }));
}

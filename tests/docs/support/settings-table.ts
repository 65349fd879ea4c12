import type { TSchema } from "@sinclair/typebox";
import { expectation } from "../../../lib/domain/schema-words.ts";
import { Function, FUNCTION_DEFAULTS } from "../../../lib/domain/functions/functions.ts";
import { SETTINGS } from "../../../lib/domain/functions/settings.ts";

/** Returns the manual's table of a function's settings, made from their schemas. */
export function settingsTable(): string {
  const { environment } = Function.properties;
  const rows = Object.entries<TSchema>({ ...SETTINGS, environment }).map(([name, schema]) => {
    const value: unknown = Object.entries(FUNCTION_DEFAULTS).find(([key]) => key === name)?.[1];
    // With spaces, so that a long one can be broken into lines.
    const shown = JSON.stringify(value)
      .replace(/(?<=[\]"\d]),(?=")/g, ", ")
      .replaceAll('":', '": ');
    return `| \`${name}\` | ${shown} | ${valuesOf(schema)} | ${descriptionOf(schema)} |`;
  });
  return ["| setting | default | values | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function valuesOf(schema: TSchema): string {
  return expectation(schema)
    .replace(/^an? (?:whole )?/, "")
    .replace(/"(\w+)"/g, "`$1`");
}

function descriptionOf(schema: TSchema): string {
  const choices: unknown = schema["anyOf"];
  const described = [schema, ...(Array.isArray(choices) ? (choices as TSchema[]) : [])]; // TypeBox's own
  return described.map(({ description }) => description).find((text) => text !== undefined) ?? "";
}

import type { Function } from "../../../domain/functions/functions.ts";
import { readQuantity, unitsInWords, writeQuantity } from "../../format/quantities.ts";
import type { SettingField } from "../../macros/setting-fields.ts";
import { FIELDS } from "./fields.ts";

/** The texts in the fields of a form, by their names. A field that is left to the server, or that is null, is empty. */
export type Values = Readonly<Record<string, string>>;

/** Says what is wrong with what is in a field. */
export class FieldProblem extends Error {
  override readonly name = "FieldProblem";
  readonly field: string;

  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** Returns what a form shows at first: a function as it is, or nothing for a new one. */
export function valuesOf(fn: Function | undefined): Values {
  if (fn === undefined) return {};
  const settings = Object.entries(fn).flatMap(([name, value]) => {
    const field = FIELDS.get(name);
    return field === undefined ? [] : [[name, written(field, value)] as const];
  });
  const { name, image, environment } = fn;
  return { ...Object.fromEntries(settings), name: name ?? "", image, environment: writeVariables(environment) };
}

/** Returns the body of a request with what a reader has changed. Throws a `FieldProblem`. */
export function changesOf(before: Values, values: Values): Record<string, unknown> {
  const changed = Object.entries(values).filter(([name, text]) => text !== (before[name] ?? ""));
  return Object.fromEntries(changed.map(([name, text]) => [name, valueOf(name, text)]));
}

function valueOf(name: string, text: string): unknown {
  if (name === "environment") return readVariables(text);
  if (name === "name") return text.trim() === "" ? null : text.trim();
  const field = FIELDS.get(name);
  return field === undefined ? text.trim() : read(field, text);
}

function written({ kind, name }: SettingField, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return writeQuantity(name, value);
  return kind === "json" || typeof value !== "string" ? JSON.stringify(value) : value;
}

function read(field: SettingField, text: string): unknown {
  const { kind, name, isNullable, usual } = field;
  if (text.trim() === "") return isNullable ? null : usual;
  if (kind === "flag") return text === "true";
  if (kind === "integer" || kind === "number") return readQuantity(name, text) ?? wrong(name, numberWanted(name));
  if (kind !== "json") return text;
  try {
    return JSON.parse(text);
  } catch {
    return wrong(name, `It must be JSON, such as ${JSON.stringify(field.example)}`);
  }
}

function numberWanted(name: string): string {
  const units = unitsInWords(name);
  return units === "" ? "It must be a number" : `It must be a number, ${units}`;
}

function wrong(field: string, message: string): never {
  throw new FieldProblem(field, message);
}

/** Writes variables, one a line; a value that a line cannot hold as it is, in quotes as JSON. */
function writeVariables(environment: Function["environment"]): string {
  const line = ([name, value]: [string, string]) =>
    `${name}=${/^"|[\r\n]|^\s|\s$/.test(value) ? JSON.stringify(value) : value}`;
  return Object.entries(environment).map(line).join("\n");
}

function readVariables(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(lines.map(readVariable));
}

function readVariable(line: string): [string, string] {
  const equals = line.indexOf("=");
  if (equals < 1)
    return wrong("environment", `This line is no variable: ${JSON.stringify(line)}. Write it as NAME=value.`);
  const [name, value] = [line.slice(0, equals).trim(), line.slice(equals + 1).trim()];
  if (!value.startsWith('"')) return [name, value];
  try {
    return [name, String(JSON.parse(value))];
  } catch {
    return wrong("environment", `The value of ${name} begins with a quote, and is no JSON: write quotes in it as \\"`);
  }
}

/** Returns the field that an error of the API is about, if its words name one. */
export function fieldIn(message: string, reason: string): string | undefined {
  const named = [...message.matchAll(/"([a-z_]+)[/"]/g)].map(([, name = ""]) => name);
  const known = named.find((name) => FIELDS.has(name) || ["name", "image", "environment"].includes(name));
  if (known !== undefined) return known;
  if (reason === "image_unavailable" || message.startsWith("Invalid image")) return "image";
  return message.startsWith("A function named") ? "name" : undefined;
}

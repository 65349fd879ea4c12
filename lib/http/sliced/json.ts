import { JSON_ANSWER } from "../wire/envelope.ts";
import { SlicedText } from "./text.ts";

/** The levels of an answer at whose entries it is cut: the envelope, its data, and a list or an object in that. */
const LEVELS = 3;

/**
 * Returns the JSON of an answer that may have thousands of records, made in slices. Elysia takes a Response in place of the
 * data in the schema; its types do not.
 */
export async function inSlices(value: object): Promise<never> {
  return new Response(await jsonInSlices(value), JSON_ANSWER) as never;
}

/** Returns the same as `JSON.stringify` for plain data, as bytes and made in slices. */
export async function jsonInSlices(value: unknown): Promise<Uint8Array<ArrayBuffer>> {
  const writer = new SlicedText();
  await writeJson(writer, value, LEVELS);
  return writer.bytes();
}

async function writeJson(writer: SlicedText, value: unknown, levels: number): Promise<void> {
  if (levels === 0 || value === null || typeof value !== "object") {
    writer.add(JSON.stringify(value) ?? "null");
    return writer.rest();
  }
  const isList = Array.isArray(value);
  const entries = isList
    ? value.map((item: unknown) => ["", item] as const)
    : Object.entries(value).filter(([, field]) => field !== undefined);
  writer.add(isList ? "[" : "{");
  let isFirst = true;
  for (const [name, field] of entries) {
    writer.add((isFirst ? "" : ",") + (isList ? "" : `${JSON.stringify(name)}:`));
    isFirst = false;
    await writeJson(writer, field, levels - 1);
  }
  writer.add(isList ? "]" : "}");
}

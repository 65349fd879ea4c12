/**
 * The words of JavaScriptCore's JSON parser that quote nothing of the text. It goes on with a word or a character of the
 * text after some of them, and the text may be a secret: those are cut off.
 */
const PARSER_WORDS = [
  "Expected ':' before value in object property definition",
  "Expected ']'",
  "Expected '}'",
  "Invalid digits after decimal point",
  "Invalid escape character",
  "Invalid number",
  "Property name must be a string literal",
  "Single quotes (') are not allowed in JSON",
  "Unexpected EOF",
  "Unexpected comma at the end of array expression",
  "Unexpected identifier",
  "Unexpected token",
  "Unrecognized token",
  "Unterminated string",
] as const;

/** A text that is not JSON. The message says why, in one of a fixed number of ways: it never has a part of the text. */
export class NotJson extends Error {
  override readonly name = "NotJson";
}

/** A byte order mark in UTF-8. */
const BYTE_ORDER_MARK = Buffer.from("\u{feff}");
// A byte order mark at the beginning is read past: editors and shells of Windows write one.
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Decodes UTF-8, without a byte order mark. Throws `NotJson` for other bytes. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new NotJson("it is not UTF-8");
  }
}

/** Parses JSON. Throws `NotJson`. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notJson(error);
  }
}

/** Returns the error for what the parser has thrown; not with that as the cause, which would end up in the log. */
export function notJson(thrown: unknown): NotJson {
  return new NotJson(parserWords(thrown));
}

/** Returns the bytes without a byte order mark: RFC 8259 (8.1) allows none in JSON that is sent. */
export function withoutByteOrderMark(bytes: Uint8Array): Uint8Array {
  const marked = bytes.length >= 3 && BYTE_ORDER_MARK.equals(bytes.subarray(0, 3));
  return marked ? bytes.subarray(3) : bytes;
}

function parserWords(error: unknown): string {
  const said = error instanceof Error ? error.message.replace("JSON Parse error: ", "") : "";
  return PARSER_WORDS.find((words) => said.startsWith(words)) ?? "its syntax is wrong";
}

/**
 * Control characters (C0 and C1), separators of lines and paragraphs, and marks that change the direction of a text: what
 * others have named or printed must not move the cursor, rewrite the screen or pretend to be something else.
 */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Returns a text for one line of a terminal: unsafe characters are escaped, as `\n` or `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** Returns a text of several lines for a terminal: newlines and tabs stay, and a carriage return before a newline goes. */
export function printableLines(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(UNSAFE, (character) => (character === "\n" || character === "\t" ? character : escaped(character)));
}

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(character: string): string {
  return SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

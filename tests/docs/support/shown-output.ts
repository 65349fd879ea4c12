/**
 * Compares what a page shows with what a command printed. The page may leave out anything by `…`, and break lines where
 * it likes. Ids and tokens of the page stand for those of this run, the same for the same; times and digests are any.
 */

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/** Values that differ in every run, and that later commands of the page name again. */
const NAMED: readonly string[] = [UUID, "slipway_[A-Za-z0-9_-]{20,}", "whsec_[A-Za-z0-9+/]{20,}=*"];

/** Values that differ in every run. */
const ANY: readonly string[] = [
  "\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)?Z",
  "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \\d{2} \\w{3} \\d{4} \\d{2}:\\d{2}:\\d{2} GMT",
  "sha256:[0-9a-f]{64}",
  "v1,[A-Za-z0-9+/]{20,}=*",
  "\\b1[78]\\d{8}\\b",
  "dur=\\d+(?:\\.\\d+)?",
  "\\b\\d+(?:\\.\\d+)? ?(?:ms|s)\\b",
];

const VALUE = new RegExp(`(?<named>${NAMED.join("|")})|(?<any>${ANY.join("|")})`, "g");

/** The values of the page, and those of this run that they stand for. */
export class Values {
  readonly #known = new Map<string, string>();

  /** A text of the page with the values of this run. */
  inserted(text: string): string {
    return text.replace(new RegExp(NAMED.join("|"), "g"), (value) => this.#known.get(value) ?? value);
  }

  get(value: string): string | undefined {
    return this.#known.get(value);
  }

  set(value: string, actual: string): void {
    this.#known.set(value, actual);
  }
}

/**
 * Returns the first part of the page's text that the output does not have, or undefined when all of it is there, in
 * order, with nothing besides. With `begun` the output may go on.
 */
export function firstDifference(shown: string, output: string, values: Values, begun = false): string | undefined {
  const parts = shown.trim().split("…");
  const text = output.trim();
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const { pattern, names } = patternOf(part, values);
    const start = index === 0 ? "" : "[\\s\\S]*?";
    const end = index === parts.length - 1 && !begun ? "\\s*$" : "";
    const regex = new RegExp(`${start}(?:${pattern})${end}`, "y");
    regex.lastIndex = at;
    const match = regex.exec(text);
    if (match === null) return part.trim() === "" ? "the end of the output" : part.trim();
    at = regex.lastIndex;
    names.forEach((name, group) => values.set(name, match[group + 1] ?? ""));
  }
  return undefined;
}

/** A regular expression for a part without `…`, and the names of the values that its groups capture. */
function patternOf(part: string, values: Values): { pattern: string; names: readonly string[] } {
  const names: string[] = [];
  let pattern = "";
  let at = 0;
  for (const match of part.matchAll(VALUE)) {
    pattern += literal(part.slice(at, match.index));
    at = match.index + match[0].length;
    pattern += match.groups?.["named"] === undefined ? anyOf(match[0]) : named(match[0], names, values);
  }
  return { pattern: pattern + literal(part.slice(at)), names };
}

function named(value: string, names: string[], values: Values): string {
  const known = values.get(value);
  if (known !== undefined) return escaped(known);
  const before = names.indexOf(value);
  if (before >= 0) return `\\${before + 1}`;
  names.push(value);
  return `(${NAMED.find((pattern) => new RegExp(`^(?:${pattern})$`).test(value)) ?? ""})`;
}

function anyOf(value: string): string {
  return `(?:${ANY.find((pattern) => new RegExp(`^(?:${pattern})$`).test(value)) ?? escaped(value)})`;
}

/** Spaces and line breaks beside the punctuation of JSON may be there or not; elsewhere one is as good as another. */
function literal(text: string): string {
  return text
    .split(/(\s+)/)
    .map((piece, index, pieces) => {
      if (index % 2 === 0) return escaped(piece);
      const [before = "", after = ""] = [pieces[index - 1]?.at(-1), pieces[index + 1]?.[0]];
      const loose = before === "" || after === "" || /[{}[\],:]/.test(before) || /[{}[\],:]/.test(after);
      return loose ? "\\s*" : "\\s+";
    })
    .join("");
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}

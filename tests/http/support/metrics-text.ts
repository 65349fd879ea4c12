/** A sample in `/metrics`. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric of `/metrics` with its samples. */
export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = String.raw`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"`;
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?,?\\})? (NaN|[+-]Inf|[-+0-9.eE]+)$`);

/** Reads the text format of Prometheus, version 0.0.4; anything else throws, with the line. */
export function parseMetrics(text: string): Map<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  for (const line of text.split("\n").filter((one) => one !== "")) {
    const [, kind, name = "", rest = ""] = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? [];
    if (kind === "HELP") helps.set(name, rest);
    else if (kind === "TYPE") {
      if (families.has(name)) throw new Error(`two families are called ${name}`);
      families.set(name, { type: rest, help: helps.get(name) ?? "", samples: [] });
    } else take(line, families);
  }
  return families;
}

function take(line: string, families: Map<string, Family>): void {
  const [, name = "", labels = ""] = SAMPLE.exec(line) ?? [];
  if (name === "") throw new Error(`no sample: ${line}`);
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
  if (family === undefined) throw new Error(`a sample of no family: ${line}`);
  const pairs = [...labels.matchAll(new RegExp(LABEL, "g"))].map(([, key = "", value = ""]) => [key, value] as const);
  const number = line.slice(line.lastIndexOf(" ") + 1).replace("Inf", "Infinity");
  family.samples.push({ name, labels: Object.fromEntries(pairs), value: Number(number) });
}

/** The sum of the samples of this name that have these labels. */
export function total(
  families: Map<string, Family>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels);
  return [...families.values()]
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0);
}

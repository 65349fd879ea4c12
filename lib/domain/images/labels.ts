import { Value } from "@sinclair/typebox/value";
import { distance } from "fastest-levenshtein";
import { AppError } from "../errors.ts";
import { expectation } from "../schema-words.ts";
import { OWN_LABELS } from "../functions/rules.ts";
import { type Settings, SETTINGS } from "../functions/settings.ts";

/**
 * The settings that an image's labels `slipway.<setting>` can give defaults for. Not those that an image says by itself
 * (entrypoint, command, user, working directory), nor those that name what only this engine or server has (network,
 * runtime, secrets).
 */
export const LABEL_SETTINGS = [
  "timeout_ms",
  "memory_bytes",
  "cpus",
  "pids",
  "context_bytes",
  "log_bytes",
  "share_network",
  "sandbox",
  "read_only",
  "max_calls",
  "max_concurrency",
  "warm_min",
  "warm_max",
  "idle_ttl_ms",
] as const satisfies readonly (keyof Settings)[];

/** Labels of our containers: an image has them that was committed from one. They mean nothing there. */
const OF_CONTAINERS: ReadonlySet<string> = new Set(["owner", "function", "instance"]);

/** What an image's labels say about settings. Throws `image_invalid` for a label that is unknown or has a wrong value. */
export function settingsOfLabels(image: string, labels: Readonly<Record<string, string>>): Partial<Settings> {
  const entries: [string, unknown][] = [];
  for (const [label, text] of Object.entries(labels)) {
    if (!label.startsWith(OWN_LABELS)) continue;
    const name = label.slice(OWN_LABELS.length);
    if (OF_CONTAINERS.has(name)) continue;
    const known = LABEL_SETTINGS.find((setting) => setting === name);
    if (known === undefined) throw refusal(image, `has the label ${shown(label)}, ${hint(name)}`);
    entries.push([known, valueOf(image, known, text)]);
  }
  return Object.fromEntries(entries); // each checked against its own setting's schema
}

function valueOf(image: string, setting: (typeof LABEL_SETTINGS)[number], text: string): unknown {
  const value = parse(text);
  const label = `the label "${OWN_LABELS}${setting}" with the value ${shown(text)}`;
  if (!Value.Check(SETTINGS[setting], value) || value === null) {
    throw refusal(image, `has ${label}, which must be ${expectation(SETTINGS[setting]).replace(/ or null$/, "")}`);
  }
  // Whoever registers an image has not read it: it may ask for less than others have, and not for more.
  if (value === "docker") {
    throw refusal(
      image,
      `has ${label}: an image cannot loosen its own sandbox; give "sandbox" with the function instead`,
    );
  }
  return value;
}

/** Numbers, true and false as JSON has them; anything else is a text. */
function parse(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
}

function hint(name: string): string {
  const nearest = LABEL_SETTINGS.toSorted((a, b) => distance(a, name) - distance(b, name))[0] ?? "";
  return distance(nearest, name) <= Math.max(1, nearest.length / 2.5)
    ? `which is unknown: did its author mean "${OWN_LABELS}${nearest}"?`
    : `which is unknown: known are ${LABEL_SETTINGS.map((setting) => `"${OWN_LABELS}${setting}"`).join(", ")}`;
}

function refusal(image: string, what: string): AppError {
  return new AppError(
    "image_invalid",
    `Image "${image}" ${what}${what.endsWith("?") ? " Correct" : ". Correct"} it in its Dockerfile`,
  );
}

function shown(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}...` : value);
}

import { Value } from "@sinclair/typebox/value";
import { distance } from "fastest-levenshtein";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { expectation } from "../schema-words.ts";
import { OWN_LABELS } from "../functions/rules.ts";
import { type Settings, SETTINGS } from "../functions/settings.ts";

/** The label of every image of a build; its value is the id of the database whose server built it. */
export const BUILDER_LABEL = "slipway.builder";

/**
 * The settings whose defaults an image can give in labels `slipway.<setting>`. Not included are settings that images have
 * anyway (entrypoint, command, user, working directory), and names that are specific to an engine or a server (network,
 * runtime, secrets).
 */
export const LABEL_SETTINGS = [
  "contract",
  "content_type",
  "output",
  "stream",
  "port",
  "ready_path",
  "boot_timeout_ms",
  "concurrency",
  "idle_timeout_ms",
  "idle",
  "buffer_request",
  "timeout_ms",
  "memory_bytes",
  "cpus",
  "pids",
  "nofile",
  "context_bytes",
  "scratch_bytes",
  "log_bytes",
  "share_network",
  "sandbox",
  "read_only",
  "isolation",
  "max_calls",
  "max_concurrency",
  "warm_min",
  "warm_max",
  "idle_ttl_ms",
] as const satisfies readonly (keyof Settings)[];

/** Labels of our containers, which an image that was committed from one also has, and of the images that we build. They are not settings. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(["owner", "function", "instance", "builder"]);

/** Reads the settings in an image's labels. Throws `image_invalid` for an unknown label or a wrong value. */
export function settingsOfLabels(image: string, labels: Readonly<Record<string, string>>): Partial<Settings> {
  const entries: [string, unknown][] = [];
  for (const [label, text] of Object.entries(labels)) {
    if (!label.startsWith(OWN_LABELS)) continue;
    const name = label.slice(OWN_LABELS.length);
    if (NOT_SETTINGS.has(name)) continue;
    const known = LABEL_SETTINGS.find((setting) => setting === name);
    if (known === undefined) throw badLabel(image, `has the label ${quoted(label)}, ${hint(name)}`);
    entries.push([known, valueOf(image, known, text)]);
  }
  return Object.fromEntries(entries); // each checked against its own setting's schema
}

function valueOf(image: string, setting: (typeof LABEL_SETTINGS)[number], text: string): unknown {
  const value = parse(text);
  const label = `the label "${OWN_LABELS}${setting}" with the value ${quoted(text)}`;
  if (!Value.Check(SETTINGS[setting], value) || value === null) {
    throw badLabel(image, `has ${label}, which must be ${expectation(SETTINGS[setting]).replace(/ or null$/, "")}`);
  }
  const problem = LOOSENING[setting]?.[String(value)];
  if (problem === undefined) return value;
  throw badLabel(image, `has ${label}: ${problem}; set "${setting}" on the function instead`);
}

/** Values that no label gives. People register images without reading their labels: one may restrict a function, but not loosen it. */
const LOOSENING: Partial<Record<keyof Settings, Readonly<Record<string, string>>>> = {
  sandbox: { docker: "an image cannot loosen its own sandbox" },
  isolation: { cell: "an image cannot ask for a container with CAP_SYS_ADMIN, which cells need" },
};

/** Reads numbers, true and false as in JSON; anything else is text. */
function parse(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
}

/** The most characters of a label's name that are compared with those we know: the time grows with the square of it. */
const COMPARED = 64;

function hint(given: string): string {
  const name = given.slice(0, COMPARED);
  const nearest = LABEL_SETTINGS.toSorted((a, b) => distance(a, name) - distance(b, name))[0] ?? "";
  return distance(nearest, name) <= Math.max(1, nearest.length / 2.5)
    ? `which is unknown: did its author mean "${OWN_LABELS}${nearest}"?`
    : `which is unknown: known are ${LABEL_SETTINGS.map((setting) => `"${OWN_LABELS}${setting}"`).join(", ")}`;
}

function badLabel(image: string, what: string): AppError {
  return new AppError(
    "image_invalid",
    `Image "${image}" ${what}${what.endsWith("?") ? " Correct" : ". Correct"} it in its Dockerfile`,
  );
}

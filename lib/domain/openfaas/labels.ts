import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";

/** The parts of a deployment that a function has no setting for. They are kept as labels of its containers. */
export interface Notes {
  readonly annotations: Readonly<Record<string, string>>;
  readonly requests: { readonly memory?: string; readonly cpu?: string };
  readonly constraints: readonly string[];
  /** The settings that the deployment gave. */
  readonly given: readonly string[];
}

/** The prefix of our labels for what a deployment says. */
const OWN = "openfaas.";
const ANNOTATION = `${OWN}annotation.`;
const CONSTRAINTS = `${OWN}constraints`;
const GIVEN = `${OWN}given`;
const REQUEST = { memory: `${OWN}requests.memory`, cpu: `${OWN}requests.cpu` } as const;

/** Returns the labels of a function: those of its deployment, and those that keep the rest of that. Throws `invalid_request`. */
export function labelsOf(labels: Readonly<Record<string, string>>, notes: Notes): Record<string, string> {
  const taken = Object.keys(labels).find((name) => name.startsWith(OWN));
  if (taken !== undefined) {
    const message = `Invalid "labels": ${quoted(taken)} begins with "${OWN}", which is reserved: choose another name`;
    throw new AppError("invalid_request", message);
  }
  const { annotations, requests, constraints, given } = notes;
  return {
    ...labels,
    ...Object.fromEntries(Object.entries(annotations).map(([name, value]) => [`${ANNOTATION}${name}`, value])),
    ...(requests.memory !== undefined && { [REQUEST.memory]: requests.memory }),
    ...(requests.cpu !== undefined && { [REQUEST.cpu]: requests.cpu }),
    ...(constraints.length > 0 && { [CONSTRAINTS]: JSON.stringify(constraints) }),
    ...(given.length > 0 && { [GIVEN]: given.join(",") }),
  };
}

/** Returns what the labels of a function say of its deployment, apart from its own labels. */
export function notesIn(all: Readonly<Record<string, string>>): { labels: Record<string, string>; notes: Notes } {
  const entries = Object.entries(all);
  const labels = Object.fromEntries(entries.filter(([name]) => !name.startsWith(OWN)));
  const annotations = Object.fromEntries(
    entries
      .filter(([name]) => name.startsWith(ANNOTATION))
      .map(([name, value]) => [name.slice(ANNOTATION.length), value]),
  );
  const { [REQUEST.memory]: memory, [REQUEST.cpu]: cpu, [CONSTRAINTS]: constraints, [GIVEN]: given = "" } = all;
  const requests = { ...(memory !== undefined && { memory }), ...(cpu !== undefined && { cpu }) };
  const notes = { annotations, requests, constraints: namesIn(constraints), given: given.split(",").filter(Boolean) };
  return { labels, notes };
}

/** Reads a list that `labelsOf` has written; somebody may have changed it with `/v1`. */
function namesIn(text: string | undefined): string[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

import type { AppliedManifest, FieldChange, ManifestChange } from "./manifest.ts";

/** The most characters of a value; longer ones are cut off. */
const VALUE_LENGTH = 80;

const SIGNS = { created: "+", updated: "~", deleted: "-" } as const;

/** Returns the lines that `slipway apply` prints: one for each change, one for each warning, and the counts. */
export function linesOf({ changes, dry_run }: AppliedManifest): string[] {
  const lines = changes.flatMap((change) => (change.action === "unchanged" ? [] : [lineOf(change, change.action)]));
  const warnings = changes.flatMap(({ kind, name, warnings: all = [] }) =>
    all.map((warning) => safe(`! ${kind} ${name}: ${warning}`)),
  );
  const counts = (["created", "updated", "deleted", "unchanged"] as const).flatMap((action) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${action}`];
  });
  const sum = counts.length === 0 ? "nothing to do" : counts.join(", ");
  return [...lines, ...warnings, dry_run ? `${sum} (a dry run: nothing was done)` : sum];
}

function lineOf({ kind, name, fields }: ManifestChange, action: keyof typeof SIGNS): string {
  const details = Object.entries(fields).map(([field, change]) => `${field} ${detailOf(field, change)}`);
  const line = `${SIGNS[action]} ${kind} ${name}${details.length > 0 ? `: ${details.join(", ")}` : ""}`;
  return safe(line);
}

/** Returns a line for a terminal: parts of it come from other people. */
function safe(line: string): string {
  // oxlint-disable-next-line no-control-regex -- it looks for control characters
  return line.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}

function detailOf(field: string, { from, to }: FieldChange): string {
  if (!field.startsWith("environment/")) return `${valueText(from)} -> ${valueText(to)}`;
  if (from === null) return "added";
  return to === null ? "removed" : "changed";
}

function valueText(value: unknown): string {
  const text = typeof value === "string" && /^\S+$/.test(value) ? value : JSON.stringify(value);
  return text.length > VALUE_LENGTH ? `${text.slice(0, VALUE_LENGTH)}...` : text;
}

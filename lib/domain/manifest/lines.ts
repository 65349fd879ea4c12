import type { AppliedManifest, FieldChange, ManifestChange } from "./manifest.ts";

/** Values that are longer than this are cut, in characters. */
const SHOWN = 80;

const SIGNS = { created: "+", updated: "~", deleted: "-" } as const;

/** What became of a manifest, a line for each change, and one for all: what `slipway apply` prints. */
export function linesOf({ changes, dry_run }: AppliedManifest): string[] {
  const lines = changes.flatMap((change) => (change.action === "unchanged" ? [] : [lineOf(change, change.action)]));
  const counts = (["created", "updated", "deleted", "unchanged"] as const).flatMap((action) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${action}`];
  });
  const sum = counts.length === 0 ? "nothing to do" : counts.join(", ");
  return [...lines, dry_run ? `${sum} (a dry run: nothing was done)` : sum];
}

function lineOf({ kind, name, fields }: ManifestChange, action: keyof typeof SIGNS): string {
  const details = Object.entries(fields).map(([field, change]) => `${field} ${detailOf(field, change)}`);
  const line = `${SIGNS[action]} ${kind} ${name}${details.length > 0 ? `: ${details.join(", ")}` : ""}`;
  // It goes to a terminal, and parts of it were written by others.
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return line.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}

function detailOf(field: string, { from, to }: FieldChange): string {
  if (!field.startsWith("environment/")) return `${shown(from)} -> ${shown(to)}`;
  if (from === null) return "added";
  return to === null ? "removed" : "changed";
}

function shown(value: unknown): string {
  const text = typeof value === "string" && /^\S+$/.test(value) ? value : JSON.stringify(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}

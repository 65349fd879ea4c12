import type { Function } from "../../domain/functions/functions.ts";

/** The fields of a function that its containers are created from. The others can change while an instance runs. */
export const CONTAINER_FIELDS = [
  "image_id",
  "entrypoint",
  "command",
  "user",
  "working_dir",
  "environment",
  "secrets",
  "contract",
  "port",
  "extra_ports",
  "ready_path",
  "concurrency",
  "idle",
  "memory_bytes",
  "cpus",
  "pids",
  "nofile",
  "context_bytes",
  "scratch_bytes",
  "network",
  "share_network",
  "sandbox",
  "runtime",
  "read_only",
  "volumes",
  "labels",
  "isolation",
  "max_calls",
] as const satisfies readonly (keyof Function)[];

/** Returns whether an instance of one function can serve the other as it is. */
export function needsNoNewContainer(a: Function, b: Function): boolean {
  // Most changes leave most values as they are, and text is slow to make.
  return CONTAINER_FIELDS.every(
    (field) => a[field] === b[field] || JSON.stringify(a[field]) === JSON.stringify(b[field]),
  );
}

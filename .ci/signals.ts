import { readFileSync } from "node:fs";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const PARENT_CHECK_MS = 500;
/** npx, its shell, `bun run`, and one spare. */
const MAX_LEVELS = 4;

/**
 * Resolves at the first SIGINT or SIGTERM, or when our launcher has exited; a second signal ends the process at once.
 * `npx` passes SIGTERM on to its shell only, and `bun run` never sees it: without watching our ancestors we would leave
 * a server behind.
 */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const before = launchers();
    // It also keeps the process alive; a pending promise does not.
    const timer = setInterval(() => {
      if (launchers() !== before) stop();
    }, PARENT_CHECK_MS);
    const stop = (): void => {
      clearInterval(timer);
      for (const signal of SIGNALS) process.off(signal, stop);
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, stop);
  });
}

/**
 * The ids of the processes that launched us: `bun run` and, if npx ran that, everything up to npx. Empty without them:
 * `nohup bun .ci/start.ts &` is to outlive its terminal.
 */
function launchers(): string {
  if (process.platform !== "linux" || process.env["npm_lifecycle_event"] === undefined) return "";
  const chain: string[] = [];
  let { parent } = statusOf("self");
  for (let level = 0; level < MAX_LEVELS; level++) {
    chain.push(parent);
    const status = statusOf(parent);
    if (status.name.startsWith("npm")) return chain.join(" ");
    parent = status.parent;
  }
  return chain[0] ?? "";
}

function statusOf(pid: string): { name: string; parent: string } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
    return { name: field("Name"), parent: field("PPid") };
  } catch {
    return { name: "", parent: "" };
  }
}

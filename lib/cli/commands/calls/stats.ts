import type { Figures, Stats } from "../../../domain/stats/figures.ts";
import { about } from "../../api/names.ts";
import { ago } from "../../option-readers.ts";
import type { Row } from "../../output/output.ts";
import { showBytes, showMs } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** The steps of which the first is taken that makes no more than `ROWS`, in milliseconds, with the server's words for them. */
const STEPS = [
  ["1m", 60_000],
  ["5m", 300_000],
  ["15m", 900_000],
  ["1h", 3_600_000],
  ["3h", 3 * 3_600_000],
  ["12h", 12 * 3_600_000],
  ["1d", 24 * 3_600_000],
  ["7d", 168 * 3_600_000],
] as const;
/** The most lines that a person takes in at a glance. */
const ROWS = 15;

/** `slipway stats`: how many calls there were, how they ended, and how long they took. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("[function]", "Only its calls, by its name or id.")
    .option(
      "--since <time>",
      "The beginning: a time such as 2026-01-31T12:00:00Z, or how long ago, such as 90m or 7d; an hour before the end by default.",
      ago,
    )
    .option("--until <time>", "The end, in the same way; now by default.", ago)
    .option("--step <duration>", "The time of one line, such as 5m, 1h or 1d.")
    .action(async (name, { since, until, step }) => {
      const server = client();
      const query = { function_id: name, since, until, step: step ?? stepFor(since, until) };
      const read = () => server.data<Stats>({ method: "GET", path: "/v1/stats", query });
      const stats = await (name === undefined ? read() : about(server, "function", name, read));
      const rows = stats.points.map(({ at, ...figures }) => rowOf(shownTime(at), figures));
      out.list(stats, [...rows, rowOf("all", stats.totals)], "No calls");
      if (!stats.complete && !out.json) out.note("The calls of before the upgrade are still being counted");
    });
};

function rowOf(from: string, figures: Figures): Row {
  const { calls, errors, cold, duration_ms, queue_ms, response_bytes } = figures;
  return {
    from,
    calls,
    errors,
    cold,
    p50: showMs(duration_ms?.p50 ?? null),
    p95: showMs(duration_ms?.p95 ?? null),
    p99: showMs(duration_ms?.p99 ?? null),
    "queue p95": showMs(queue_ms?.p95 ?? null),
    sent: showBytes(response_bytes),
  };
}

/** `2026-01-31 12:05Z` */
function shownTime(at: string): string {
  return `${at.slice(0, 16).replace("T", " ")}Z`;
}

function stepFor(since: string | undefined, until: string | undefined): string | undefined {
  if (since === undefined) return "5m";
  const ms = (until === undefined ? Date.now() : Date.parse(until)) - Date.parse(since);
  // The server says if the times are wrong, or a step is too long.
  return STEPS.find(([, size]) => ms / size <= ROWS)?.[0];
}

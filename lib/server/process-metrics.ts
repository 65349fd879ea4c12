import { readdirSync } from "node:fs";
import type { Clock } from "../clock.ts";
import type { Metrics } from "../metrics.ts";
import { VERSION } from "../version.ts";

/** Adds metrics of the process, under the names that Prometheus clients use, and of its database. */
export function watchProcess(
  metrics: Metrics,
  clock: Clock,
  database: { readonly bytes: () => number; readonly isUp: () => boolean },
): void {
  const startedAt = clock.now() / 1000;
  const one = (value: number) => [{ value }];
  metrics.gauge("process_resident_memory_bytes", "Resident memory of the server", [], () =>
    one(process.memoryUsage.rss()),
  );
  metrics.counter("process_cpu_seconds_total", "User and system time of the server", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge("process_open_fds", "Open file descriptors", [], () => one(openDescriptors()));
  metrics.gauge("process_start_time_seconds", "When the server started, in seconds since the epoch", [], () =>
    one(startedAt),
  );
  metrics.gauge("slipway_build_info", "Always 1; the label is the version of the server", ["version"], () => [
    { labels: { version: VERSION }, value: 1 },
  ]);
  metrics.gauge("slipway_database_bytes", "Size of the database and its write-ahead log", [], () =>
    one(database.bytes()),
  );
  metrics.gauge("slipway_database_up", "1 while the database can be used", [], () => one(database.isUp() ? 1 : 0));
}

function openDescriptors(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0; // not Linux: there is no such figure
  }
}

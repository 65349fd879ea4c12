import { relativeTime, showBytes } from "../../output/quantities.ts";
import type { ApiClient } from "../../api/api-client.ts";
import { EXIT } from "../../exit-codes.ts";
import type { Define } from "../../tools.ts";
import type { SystemState } from "../../../domain/system/system.ts";

interface Check {
  readonly ok: boolean;
  readonly problem: string | null;
  readonly warning?: string;
}

interface Readiness {
  readonly ready: boolean;
  readonly engine: Check;
  readonly database: Check;
}

/** A sample of `GET /metrics`. */
interface Sample {
  readonly name: string;
  readonly labels: string;
  readonly value: number;
}

/** `slipway status`: how a server is doing; exit code 1 if it cannot run functions. */
export const define: Define = (command, { client, out, exitWith }) => {
  command.action(async () => {
    const server = client();
    // 503 has a body of the same form.
    const response = await server.send({ method: "GET", path: "/readyz" });
    const readiness = await readinessIn(server, response);
    const samples = samplesIn(await server.text({ method: "GET", path: "/metrics" }));
    const { servers } = await server.data<SystemState>({ method: "GET", path: "/v1/system" });
    const report = { ...reportOf(server.url, readiness, samples), servers };
    out.record(report, {
      server: report.url,
      version: report.version,
      ready: report.ready ? "yes" : "no",
      engine: stateOf(report.engine),
      database: databaseOf(report.database, report.database_bytes),
      ...(servers !== null && { servers: servers.map(memberOf).join(", ") }),
      started: report.started_at === null ? null : relativeTime(report.started_at),
      memory: showBytes(report.memory_bytes),
      instances: countsOf(report.instances),
      "waiting calls": report.waiting_calls,
      invocations: countsOf(report.invocations),
    });
    if (!report.ready) exitWith(EXIT.failed);
  });
};

async function readinessIn(client: ApiClient, response: Response): Promise<Readiness> {
  const text = await response.clone().text();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "ready" in parsed) return parsed as Readiness; // as the API promises
  } catch {
    // It is not Slipway that answers.
  }
  throw await client.errorOf(response);
}

function reportOf(url: string, { ready, engine, database }: Readiness, samples: readonly Sample[]) {
  const value = (name: string) => samples.find((sample) => sample.name === name)?.value ?? null;
  const counts = (name: string, label: string) => {
    const found: Record<string, number> = {};
    for (const sample of samples.filter((sample) => sample.name === name)) {
      const key = labelIn(sample.labels, label);
      found[key] = (found[key] ?? 0) + sample.value;
    }
    return found;
  };
  const started = value("process_start_time_seconds");
  const build = samples.find(({ name }) => name === "slipway_build_info");
  return {
    url,
    version: build === undefined ? null : labelIn(build.labels, "version"),
    ready,
    engine,
    database,
    database_bytes: value("slipway_database_bytes"),
    started_at: started === null ? null : new Date(started * 1_000).toISOString(),
    memory_bytes: value("process_resident_memory_bytes"),
    instances: counts("slipway_instances", "state"),
    waiting_calls: value("slipway_queued_calls"),
    /** Since the start of the server, by status. */
    invocations: counts("slipway_invocations_total", "status"),
  };
}

function labelIn(labels: string, name: string): string {
  return new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels)?.[1] ?? "";
}

function samplesIn(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const [, name = "", labels = "", value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    return value === undefined ? [] : [{ name, labels, value: Number(value) }];
  });
}

function stateOf({ ok, problem, warning }: Check): string {
  if (!ok) return problem ?? "not ok";
  return warning === undefined ? "ok" : `ok, but ${warning}`;
}

/** Without a file there is no size: the database is PostgreSQL. */
function databaseOf(check: Check, bytes: number | null): string {
  const size = bytes === null || bytes === 0 ? null : showBytes(bytes);
  return size === null ? stateOf(check) : `${stateOf(check)}, ${size}`;
}

function memberOf({ id, living, heartbeat_age_ms }: NonNullable<SystemState["servers"]>[number]): string {
  const seen = relativeTime(new Date(Date.now() - heartbeat_age_ms).toISOString());
  return living ? id : `${id} (lost, last heard of ${seen})`;
}

function countsOf(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).filter(([, count]) => count > 0);
  return entries.length === 0 ? "none" : entries.map(([name, count]) => `${count} ${name}`).join(", ");
}

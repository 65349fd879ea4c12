import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { YAML } from "bun";
import { Metrics } from "../../lib/metrics.ts";
import { parseMetrics } from "../http/support/metrics-text.ts";
import { TestServer } from "../support/server.ts";
import { newStore, scratchDirectory, someFunction } from "../store/sqlite/support/stores.ts";
import { databasePath } from "../../lib/store/sqlite/store.ts";
import { ROOT } from "./support/markdown-blocks.ts";
import { namedIn } from "./support/promql.ts";

/** The labels that Prometheus itself gives every metric, and the one metric that it makes for each server. */
const OF_PROMETHEUS = ["job", "instance"];
const UP = "up";

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}
interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly Target[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

// Both files are ours: a part that is missing fails a test.
const dashboard = (await Bun.file(join(ROOT, "lib/docs/monitoring/grafana-dashboard.json")).json()) as {
  panels: readonly Panel[];
  templating: { list: readonly { name: string; query: string | { query: string } }[] };
};
const { groups } = YAML.parse(await Bun.file(join(ROOT, "lib/docs/monitoring/alert-rules.yaml")).text()) as {
  groups: readonly { rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const targets = dashboard.panels.flatMap((panel) =>
  (panel.targets ?? []).map(({ expr, legendFormat }) => [panel.title, expr, legendFormat] as const),
);

/** The labels that each metric of a server can have. */
const known = new Map<string, Set<string>>();
const scratch = scratchDirectory();

function know(name: string, type: string, labels: readonly string[]): void {
  const names = type === "histogram" ? ["_bucket", "_sum", "_count"].map((part) => name + part) : [name];
  for (const each of names) {
    const all = known.get(each) ?? new Set(each.endsWith("_bucket") ? ["le"] : []);
    for (const label of labels) all.add(label);
    known.set(each, all);
  }
}

beforeAll(async () => {
  {
    using store = newStore(databasePath(scratch.path));
    await store.functions.insert(someFunction("f1"));
  }
  await using server = await TestServer.start({
    DATA_PATH: scratch.path,
    DOCKER_HOST: "unix:///nowhere/docker.sock",
  });
  // A call that fails gives those labels that only calls have.
  expect((await server.invoke({ id: "f1" })).status).toBe(503);
  const families = parseMetrics(await (await fetch(`${server.url}/metrics`)).text());
  for (const [name, { type, samples }] of families)
    know(
      name,
      type,
      [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))].filter((label) => label !== "le"),
    );
  // Metrics that nothing has counted yet have no labels there.
  for (const metric of Object.values(new Metrics())) {
    if (typeof metric !== "object" || metric === null || !("name" in metric) || !("labelNames" in metric)) continue;
    const { name, labelNames } = metric as { name: string; labelNames: readonly string[] }; // prom-client's own fields
    const family = families.get(name);
    if (family === undefined) throw new Error(`/metrics does not have ${name}`);
    know(name, family.type, labelNames);
  }
});
afterAll(() => scratch[Symbol.dispose]());

/** Checks what an expression names, and returns the labels that its result can have. */
function check(expression: string): Set<string> {
  const { metrics, grouped } = namedIn(expression);
  expect(metrics.length).toBeGreaterThan(0);
  const possible = new Set(OF_PROMETHEUS);
  for (const { name, labels } of metrics) {
    const ofMetric = new Set([...(name === UP ? [] : (known.get(name) ?? [`no metric ${name}`])), ...OF_PROMETHEUS]);
    if (name !== UP) expect([...known.keys()]).toContain(name);
    for (const label of labels) expect([...ofMetric]).toContain(label);
    for (const label of ofMetric) possible.add(label);
  }
  for (const label of grouped) expect([...possible]).toContain(label);
  return grouped.length > 0 ? new Set([...grouped, ...OF_PROMETHEUS]) : possible;
}

/** Returns an expression as Grafana sends it. */
function filled(expression: string): string {
  return expression.replaceAll("$__rate_interval", "5m").replaceAll(/\$(function|job)\b/g, ".*");
}

describe("grafana-dashboard.json", () => {
  test.each(targets)("%s: %s has metrics and labels that exist", (_, expression, legend) => {
    const labels = check(filled(expression));
    for (const [, label = ""] of legend.matchAll(/\{\{(\w+)\}\}/g)) expect([...labels]).toContain(label);
  });

  test("has variables that exist, and uses no other", () => {
    const names = dashboard.templating.list.map(({ name }) => name);
    for (const { query } of dashboard.templating.list) {
      const [, metric = "", label = ""] =
        typeof query === "string" ? [] : (/^label_values\((\w+), (\w+)\)$/.exec(query.query) ?? ["", "none", "none"]);
      if (metric !== "") expect([...(known.get(metric) ?? []), ...OF_PROMETHEUS]).toContain(label);
    }
    const used = [...JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g)].map(([, name = ""]) => name);
    for (const name of new Set(used)) expect([...names, "__rate_interval", "__all"]).toContain(name);
  });

  test("shows every metric of a server, each panel once", () => {
    const shown = new Set(
      targets.flatMap(([, expression]) => namedIn(filled(expression)).metrics.map(({ name }) => name)),
    );
    const families = [...known.keys()].filter(
      (name) => !/_(sum|count)$/.test(name) || !known.has(name.replace(/_(sum|count)$/, "_bucket")),
    );
    // They say nothing by themselves.
    const others = ["process_start_time_seconds", "slipway_engine_calls_total"];
    expect(families.filter((name) => !shown.has(name)).toSorted()).toEqual(others);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });
});

describe("alert-rules.yaml", () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))("%s has metrics and labels that exist", (_, rule) => {
    const labels = check(rule.expr);
    expect(rule.alert).toMatch(/^Slipway[A-Z][A-Za-z]+$/);
    expect(["critical", "warning"]).toContain(rule.labels["severity"] ?? "");
    expect(Object.keys(rule.annotations)).toEqual(["summary", "description"]);
    for (const text of Object.values(rule.annotations)) {
      for (const [, label = ""] of text.matchAll(/\$labels\.(\w+)/g)) expect([...labels]).toContain(label);
    }
  });

  test("each rule has a name of its own", () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });
});

describe("the check", () => {
  test.each([
    "sum(rate(slipway_invocation_total[5m]))",
    "sum by (route) (slipway_instances)",
    'slipway_instances{isolation="cell"}',
    "slipway_run_seconds",
    "sum by (state (slipway_instances)",
    "rate(slipway_pulls_total[five])",
  ])("finds what is wrong with %s", (expression) => {
    expect(() => check(expression)).toThrow();
  });
});

import { expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { YAML } from "bun";
import { promtool } from "../../.ci/engine/programs/program-roots.ts";
import { run } from "../../.ci/packages.ts";
import { scratchDirectory } from "../store/sqlite/support/stores.ts";
import { ROOT } from "./support/markdown-blocks.ts";

const RULES = join(ROOT, "lib/docs/monitoring/alert-rules.yaml");
const TESTS = join(import.meta.dir, "support/alert-rules.test.yaml");

/** The parts of both files that are looked at here; both are ours. */
interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
}
interface Tests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
  }[];
}

test("Prometheus accepts the alert rules; each alert fires on its problem, and is silent on a healthy server", async () => {
  const program = await promtool();
  expect(await run([program, "check", "rules", RULES])).toMatchObject({ code: 0 });

  using scratch = scratchDirectory();
  await cp(RULES, scratch.file("alert-rules.yaml"));
  await cp(TESTS, scratch.file("tests.yaml"));
  const { code, stdout, stderr } = await run([program, "test", "rules", scratch.file("tests.yaml")]);
  expect({ code, said: code === 0 ? "" : stdout + stderr }).toEqual({ code: 0, said: "" });

  const { groups } = YAML.parse(await Bun.file(RULES).text()) as Rules;
  const { tests } = YAML.parse(await Bun.file(TESTS).text()) as Tests;
  const tested = tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  for (const { alert } of groups.flatMap(({ rules }) => rules)) {
    const alerts = tested.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length);
    expect([alert, alerts]).toEqual([alert, [0, 1]]);
  }
});

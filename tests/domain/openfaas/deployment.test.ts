import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { FUNCTION_DEFAULTS, type Function } from "../../../lib/domain/functions/functions.ts";
import { type FunctionDeployment, functionOf, scheduleOf } from "../../../lib/domain/openfaas/deployment.ts";
import { notesIn } from "../../../lib/domain/openfaas/labels.ts";
import { CallLines } from "../../../lib/domain/openfaas/log-messages.ts";
import { statusOf } from "../../../lib/domain/openfaas/status.ts";
import { thrownBy } from "../../store/sqlite/support/stores.ts";

const PLAIN: FunctionDeployment = { service: "figlet", image: "figlet" };
const POOL = { ready: 0, starting: 0, busy: 0, target: 0 };

function problemOf(deployment: Partial<FunctionDeployment>): string {
  const thrown = thrownBy(() => functionOf({ ...PLAIN, ...deployment }));
  return thrown instanceof AppError ? thrown.message : String(thrown);
}

describe("functionOf", () => {
  test("a deployment without anything else gives nothing else", () => {
    const nothing = { ...PLAIN, envVars: null, labels: null, annotations: null, secrets: null, limits: null };
    expect(functionOf(nothing)).toEqual({
      name: "figlet",
      body: { image: "figlet", environment: {}, secrets: [], labels: {} },
    });
  });

  test.each<readonly [Partial<FunctionDeployment>, object]>([
    [{ limits: { memory: "1Mi" } }, { memory_bytes: 16 * 2 ** 20 }],
    [{ limits: { memory: "1Gi", cpu: "2" } }, { memory_bytes: 2 ** 30, cpus: 2 }],
    [{ envVars: { exec_timeout: "2m", write_timeout: "5s" } }, { timeout_ms: 120_000 }],
    [{ envVars: { write_timeout: "5s" } }, { timeout_ms: 5_000 }],
    [{ labels: { "com.openfaas.scale.min": "2" } }, { warm_min: 2 }],
    [{ labels: { "com.openfaas.scale.min": "20" } }, { warm_min: 20, warm_max: 20 }],
    [{ envProcess: "cat", envVars: { a: "b" } }, { environment: { a: "b", fprocess: "cat" } }],
    [{ secrets: ["one"] }, { secrets: [{ name: "one", environment: null }] }],
  ])("%j gives %j", (deployment, expected) => {
    expect(functionOf({ ...PLAIN, ...deployment }).body).toMatchObject(expected);
  });

  test("what the deployment before gave and this one does not has its default again, and nothing else", () => {
    const first = functionOf({ ...PLAIN, limits: { memory: "1Gi" }, readOnlyRootFilesystem: true });
    const { notes } = notesIn(first.body.labels ?? {});
    const second = functionOf({ ...PLAIN, readOnlyRootFilesystem: true }, notes).body;
    expect(second).toMatchObject({ memory_bytes: FUNCTION_DEFAULTS.memory_bytes, read_only: true });
    expect(second).not.toHaveProperty("cpus");
  });

  test.each<readonly [Partial<FunctionDeployment>, string]>([
    [{ service: "Fig_let" }, 'Invalid "service" "Fig_let"'],
    [{ limits: { memory: "much" } }, 'Invalid "limits/memory" "much"'],
    [{ limits: { cpu: "all" } }, 'Invalid "limits/cpu" "all"'],
    [{ namespace: "staging" }, 'No namespace "staging"'],
    [{ labels: { "openfaas.annotation.a": "b" } }, 'Invalid "labels": "openfaas.annotation.a"'],
  ])("%j is refused", (deployment, message) => {
    expect(problemOf(deployment)).toStartWith(message);
  });
});

test("labels, annotations, requests and constraints come back as they were", () => {
  const given = {
    envProcess: "cat",
    envVars: { a: "b" },
    constraints: ["node.role == worker"],
    labels: { team: "a" },
    annotations: { topic: "kafka", "with space": "x,y" },
    requests: { memory: "1Mi", cpu: "1m" },
  };
  const { body } = functionOf({ ...PLAIN, ...given });
  const fn: Function = {
    ...FUNCTION_DEFAULTS,
    id: "1",
    name: "figlet",
    image: "figlet",
    image_id: null,
    digest: null,
    created_at: "2026-01-31T12:00:00.000Z",
    updated_at: "2026-01-31T12:00:00.000Z",
    environment: body.environment ?? {},
    labels: body.labels ?? {},
  };
  expect(statusOf(fn, POOL, 7)).toMatchObject({ ...given, invocationCount: 7, replicas: 1, availableReplicas: 1 });
  expect(statusOf(fn, { ...POOL, problem: "it ended" }, 0)).toMatchObject({ replicas: 1, availableReplicas: 0 });
});

test.each<readonly [Record<string, string>, object | undefined]>([
  [{}, undefined],
  [{ schedule: "* * * * *" }, undefined],
  [
    { topic: "cron-function", schedule: "* * * * *" },
    { cron: "* * * * *", timezone: "UTC" },
  ],
  [
    { topic: "kafka, cron-function", schedule: "@daily", timezone: "Europe/Berlin" },
    { cron: "@daily", timezone: "Europe/Berlin" },
  ],
])("the annotations %j ask for %j", (annotations, expected) => {
  expect(scheduleOf(annotations)).toEqual(expected as ReturnType<typeof scheduleOf>);
});

test("pieces of output become lines, each stream for itself", () => {
  const lines = new CallLines("figlet", "id");
  const at = (second: number) => `2026-01-31T12:00:0${second}.000Z`;
  const texts = (...entries: [stream: "stdout" | "stderr", text: string, second: number][]) =>
    lines
      .take(
        entries.map(([stream, text, second]) => ({ stream, text, time: at(second) })),
        0,
      )
      .map(({ text, timestamp }) => [text, timestamp]);
  expect(texts(["stdout", "a", 1], ["stderr", "x\r\ny", 2], ["stdout", "b\nc\n", 3])).toEqual([
    ["x", at(2)],
    ["ab", at(1)],
    ["c", at(3)],
  ]);
  expect(texts(["stderr", "z\n\n", 4])).toEqual([
    ["yz", at(2)],
    ["", at(4)],
  ]);
  expect(texts(["stdout", "end", 5])).toEqual([]);
  expect(lines.end().map(({ text }) => text)).toEqual(["end"]);
});

test("a function for the clock needs a timetable", () => {
  expect(() => scheduleOf({ topic: "cron-function" })).toThrow('The annotation "topic" is "cron-function"');
});

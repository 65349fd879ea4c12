import { describe, expect, test } from "bun:test";
import { type Converted, convertForeign } from "../../../lib/domain/foreign/convert.ts";

const STACK = `
version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080
functions:
  figlet:
    lang: node20
    handler: ./figlet
    image: \${REGISTRY:-ghcr.io}/figlet:0.1
    fprocess: figlet
    environment:
      retries: 3
      price: $$5
    environment_file:
      - more.yml
    labels: {team: a, com.openfaas.scale.min: 2}
    annotations: {topic: cron-function, schedule: "*/5 * * * *"}
    secrets: [token]
    constraints: ["node.role == worker"]
    limits: {memory: 128Mi, cpu: 100m}
    requests: {memory: 64Mi, cpu: 50m}
    readonly_root_filesystem: true
    build_args: {A: b}
    build_options: [dev]
configuration:
  templates: []
`;

const KNATIVE = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
  namespace: default
  labels: {team: a}
  annotations: {run.googleapis.com/ingress: all}
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/minScale: "1"
        autoscaling.knative.dev/max-scale: "4"
        run.googleapis.com/cpu-throttling: "false"
    spec:
      containerConcurrency: 10
      timeoutSeconds: 60
      serviceAccountName: someone
      containers:
        - image: hello:1
          name: user
          command: [/server]
          args: [--verbose]
          workingDir: /app
          ports: [{name: http1, containerPort: 9000}]
          env:
            - {name: PRICE, value: "$5"}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: latest}}}
            - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}
          resources: {limits: {memory: 512Mi, cpu: "1"}, requests: {cpu: 100m}}
          readinessProbe: {httpGet: {path: /ready, port: 9000}, periodSeconds: 1}
          livenessProbe: {httpGet: {path: /live}}
          securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}
        - image: sidecar:1
  traffic: [{latestRevision: true, percent: 100}]
`;

const COMPOSE = `
name: shop
services:
  thumbnails:
    image: thumbnails:\${TAG}
    build: ./thumbnails
    command: convert - "a b" 'c d'
    entrypoint: [/bin/run]
    environment: [SIZE=100, "NAME=x=y"]
    env_file: more.env
    user: "1000"
    working_dir: /work
    read_only: true
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 50
    secrets: [token, {source: other, target: elsewhere}]
    volumes: ["models:/models:ro", "./src:/src"]
    ports: ["8080:3000"]
    labels:
      slipway.contract: http
      slipway.timeout_ms: "5000"
      team: a
    restart: always
    depends_on: [db]
  db:
    image: postgres
volumes:
  models: {}
`;

const FILES: Readonly<Record<string, string>> = {
  "more.yml": "environment:\n  more: 1\n",
  "more.env": '# a comment\nMORE=1\nexport QUOTED="a b"\n',
};

function convert(text: string): Promise<Converted | undefined> {
  return convertForeign(text, { TAG: "2" }, (path) => Promise.resolve(FILES[path] ?? ""));
}

async function converted(text: string): Promise<Converted> {
  const found = await convert(text);
  if (found === undefined) throw new Error("It was taken for something else");
  return found;
}

describe("convertForeign", () => {
  test("an OpenFaaS stack", async () => {
    const { kind, manifest, notes } = await converted(STACK);
    expect(kind).toBe("OpenFaaS stack");
    expect(manifest).toMatchObject({
      version: 1,
      secrets: ["token"],
      functions: {
        figlet: {
          image: "ghcr.io/figlet:0.1",
          environment: { retries: "3", price: "$$5", more: "1", fprocess: "figlet" },
          secrets: [{ name: "token", environment: null }],
          memory_bytes: 128 * 2 ** 20,
          cpus: 0.1,
          read_only: true,
          warm_min: 2,
          labels: { team: "a", "openfaas.requests.memory": "64Mi", "openfaas.annotation.topic": "cron-function" },
        },
      },
    });
    expect(notes.map(({ path }) => path).toSorted()).toEqual([
      "configuration",
      "functions.figlet",
      "functions.figlet.build_args",
      "functions.figlet.build_options",
      "provider.gateway",
    ]);
  });

  test("services of Knative and Cloud Run, among other documents", async () => {
    const { kind, manifest, notes } = await converted(KNATIVE);
    expect(kind).toBe("Knative service");
    expect(manifest).toEqual({
      version: 1,
      secrets: ["token"],
      functions: {
        hello: {
          contract: "http",
          image: "hello:1",
          port: 9000,
          concurrency: 10,
          max_calls: 0,
          max_concurrency: 40,
          warm_min: 1,
          timeout_ms: 60_000,
          entrypoint: ["/server"],
          command: ["--verbose"],
          environment: { PRICE: "$$5" },
          secrets: [{ name: "token", environment: "TOKEN" }],
          memory_bytes: 512 * 2 ** 20,
          cpus: 1,
          working_dir: "/app",
          user: "1000",
          read_only: true,
          ready_path: "/ready",
          labels: { team: "a" },
        },
      },
    });
    const paths = notes.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(["document 1: kind", "document 1: metadata"]));
    const spec = "document 2: spec.template.spec";
    expect(paths).toEqual(
      expect.arrayContaining([
        "document 2: metadata.namespace",
        "document 2: metadata.annotations",
        "document 2: spec.traffic",
        "document 2: spec.template.metadata.annotations.run.googleapis.com/cpu-throttling",
        `${spec}.serviceAccountName`,
        `${spec}.containers.0.ports.0.name`,
        `${spec}.containers.0.env.2`,
        `${spec}.containers.0.resources.requests`,
        `${spec}.containers.0.readinessProbe.periodSeconds`,
        `${spec}.containers.0.livenessProbe`,
        `${spec}.containers.1`,
      ]),
    );
  });

  test("the functions of a compose file", async () => {
    const { kind, manifest, notes } = await converted(COMPOSE);
    expect(kind).toBe("compose file");
    expect(manifest).toEqual({
      version: 1,
      secrets: ["token", "other"],
      functions: {
        thumbnails: {
          image: "thumbnails:2",
          contract: "http",
          timeout_ms: 5_000,
          port: 3000,
          entrypoint: ["/bin/run"],
          command: ["convert", "-", "a b", "c d"],
          environment: { SIZE: "100", NAME: "x=y", MORE: "1", QUOTED: "a b" },
          labels: { team: "a" },
          user: "1000",
          working_dir: "/work",
          read_only: true,
          memory_bytes: 64 * 2 ** 20,
          cpus: 0.5,
          pids: 50,
          secrets: [
            { name: "token", environment: null },
            { name: "other", environment: null },
          ],
          volumes: [{ name: "models", path: "/models", read_only: true }],
        },
      },
    });
    expect(notes.map(({ path }) => path).toSorted()).toEqual([
      "name",
      "services.db",
      "services.thumbnails.build",
      "services.thumbnails.depends_on",
      "services.thumbnails.ports.0",
      "services.thumbnails.restart",
      "services.thumbnails.secrets.1.target",
      "services.thumbnails.volumes.1",
      "volumes",
    ]);
  });

  test.each([
    ["a manifest", "version: 1\nfunctions: {a: {image: b}}\n"],
    ["nothing", ""],
    ["a text that is no YAML", "a: [b"],
    ["several documents of something else", "a: 1\n---\nb: 2\n"],
  ])("%s is not for it", async (_, text) => {
    expect(await convert(text)).toBeUndefined();
  });

  test.each([
    ["a compose file without functions", "services: {db: {image: postgres}}", "None of the services has a label"],
    ["a missing variable", "services: {a: {image: $MISSING}}", "The variable MISSING is not set"],
    ["a function without an image", "provider: {name: openfaas}\nfunctions: {a: {lang: go}}", 'Invalid "functions.a"'],
    ["an amount that is none", STACK.replace("128Mi", "much"), 'Invalid "limits/memory" "much"'],
    ["a list in place of a text", KNATIVE.replace("workingDir: /app", "workingDir: [a]"), 'Invalid "spec.template'],
  ])("%s is refused", async (_, text, message) => {
    const refused = await convert(text).then(
      () => "taken",
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    expect(refused).toStartWith(message);
  });
});

/** The keys that say only what kind of file it is. */
const ABOUT_THE_FILE = /^(?:version|provider\.name|apiVersion|kind|spec\.template\.spec\.containers\.0\.name)$/;

/**
 * Nothing is dropped without a word: if any value of a file is another one, then the manifest is, or the file is refused, or the value is
 * in the list.
 */
test.each([
  ["an OpenFaaS stack", STACK],
  ["a Knative service", KNATIVE.split("---")[1] ?? ""],
  ["a compose file", COMPOSE],
])("every value of %s is in the manifest or in the list", async (_, text) => {
  const file: unknown = Bun.YAML.parse(text);
  const { manifest, notes } = await converted(text);
  const lost: string[] = [];
  for (const path of leavesOf(file, [])) {
    const name = path.join(".");
    const isListed = notes.some((note) => name === note.path || name.startsWith(`${note.path}.`));
    if (isListed || ABOUT_THE_FILE.test(name)) continue;
    const changed = await convert(JSON.stringify(changedAt(file, path))).catch(() => undefined);
    if (changed !== undefined && Bun.deepEquals(changed.manifest, manifest) && Bun.deepEquals(changed.notes, notes))
      lost.push(name);
  }
  expect(lost).toEqual([]);
});

function* leavesOf(value: unknown, path: readonly string[]): Generator<readonly string[]> {
  if (value === null || typeof value !== "object") return yield path;
  for (const [key, inner] of Object.entries(value)) yield* leavesOf(inner, [...path, key]);
}

function changedAt(value: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined)
    return typeof value === "number" ? value + 1 : typeof value === "boolean" ? !value : `${String(value)}7`;
  if (Array.isArray(value)) return value.map((one, index) => (String(index) === key ? changedAt(one, rest) : one));
  const fields = value as Readonly<Record<string, unknown>>; // a path leads through objects
  return { ...fields, [key]: changedAt(fields[key], rest) };
}

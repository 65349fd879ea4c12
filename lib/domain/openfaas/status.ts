import { Type, type Static } from "@sinclair/typebox";
import type { Function, PoolState } from "../functions/functions.ts";
import { NAMESPACE } from "./deployment.ts";
import { notesIn } from "./labels.ts";

function texts(description: string) {
  return Type.Unsafe<Record<string, string>>(
    Type.Object({}, { additionalProperties: Type.String(), description, examples: [{}] }),
  );
}

const amounts = Type.Object({
  memory: Type.Optional(Type.String({ examples: ["256Mi"] })),
  cpu: Type.Optional(Type.String({ examples: ["1000m"] })),
});

/** A function as OpenFaaS's clients read it. */
export const FunctionStatus = Type.Object({
  name: Type.String({ description: "The name of the function; its id if it has none.", examples: ["figlet"] }),
  image: Type.String({ examples: ["ghcr.io/openfaas/figlet:latest"] }),
  namespace: Type.String({ examples: [NAMESPACE] }),
  envProcess: Type.Optional(Type.String({ description: "The command of the watchdog.", examples: ["figlet"] })),
  envVars: texts("Variables for the function's process."),
  constraints: Type.Optional(Type.Array(Type.String())),
  secrets: Type.Optional(Type.Array(Type.String(), { description: "The names of its secrets." })),
  labels: texts("Labels."),
  annotations: texts("Annotations."),
  limits: amounts,
  requests: Type.Optional(amounts),
  readOnlyRootFilesystem: Type.Optional(Type.Boolean()),
  invocationCount: Type.Integer({
    description: "Calls that ended since the server's start; 0 for a key without the scope `read`.",
    examples: [12],
  }),
  replicas: Type.Integer({ description: "Instances; 1 where there would be one at the next call.", examples: [1] }),
  availableReplicas: Type.Integer({
    description: "The same; 0 if instances cannot be started, which `GET /v1/functions/:id` explains.",
    examples: [1],
  }),
  createdAt: Type.String({ description: "RFC 3339.", examples: ["2026-01-31T12:00:00.000Z"] }),
});
export type FunctionStatus = Static<typeof FunctionStatus>;

/** Returns a function as OpenFaaS's clients read it. `calls` is the number of its calls. */
export function statusOf(fn: Function, pool: PoolState, calls: number): FunctionStatus {
  const { fprocess, ...variables } = fn.environment;
  const { labels, notes } = notesIn(fn.labels);
  const { requests, constraints, annotations } = notes;
  const present = pool.ready + pool.busy;
  const wanted = present + pool.starting + (pool.booting ?? 0);
  return {
    name: fn.name ?? fn.id,
    image: fn.image,
    namespace: NAMESPACE,
    ...(fprocess !== undefined && { envProcess: fprocess }),
    envVars: variables,
    ...(constraints.length > 0 && { constraints: [...constraints] }),
    ...(fn.secrets.length > 0 && { secrets: fn.secrets.map(({ name }) => name) }),
    labels,
    annotations,
    limits: { memory: memoryText(fn.memory_bytes), cpu: `${Math.round(fn.cpus * 1_000)}m` },
    ...(Object.keys(requests).length > 0 && { requests }),
    ...(fn.read_only && { readOnlyRootFilesystem: true }),
    invocationCount: calls,
    replicas: Math.max(1, wanted),
    availableReplicas: pool.problem === undefined ? Math.max(1, present) : present,
    createdAt: fn.created_at,
  };
}

function memoryText(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  return Number.isInteger(mebibytes) ? `${mebibytes}Mi` : String(bytes);
}

/**
 * The types that faas-cli decodes answers into (openfaas/faas-provider `types/*.go` and `logs/logs.go`, MIT), and the rules of Go's
 * `encoding/json`: a field that is absent or null stays as it is, one of another type is an error, unknown fields are ignored.
 */
type GoType = "string" | "uint64" | "float64" | "bool" | "time" | GoMap | GoList | GoStruct;
interface GoMap {
  readonly map: GoType;
}
interface GoList {
  readonly list: GoType;
}
interface GoStruct {
  readonly fields: Readonly<Record<string, GoType>>;
}

const RESOURCES: GoStruct = { fields: { memory: "string", cpu: "string" } };
const TEXTS: GoMap = { map: "string" };

/** `types.FunctionStatus`. */
export const FUNCTION_STATUS: GoStruct = {
  fields: {
    name: "string",
    image: "string",
    namespace: "string",
    envProcess: "string",
    envVars: TEXTS,
    constraints: { list: "string" },
    secrets: { list: "string" },
    labels: TEXTS,
    annotations: TEXTS,
    limits: RESOURCES,
    requests: RESOURCES,
    readOnlyRootFilesystem: "bool",
    invocationCount: "float64",
    replicas: "uint64",
    availableReplicas: "uint64",
    createdAt: "time",
    usage: { fields: { cpu: "float64", totalMemoryBytes: "float64" } },
  },
};

/** `types.Secret`. */
export const SECRET: GoStruct = {
  fields: { name: "string", namespace: "string", value: "string", rawValue: "string" },
};

/** `logs.Message`. */
export const LOG_MESSAGE: GoStruct = {
  fields: { name: "string", namespace: "string", instance: "string", timestamp: "time", text: "string" },
};

const VERSION: GoStruct = { fields: { release: "string", sha: "string" } };

/** `types.GatewayInfo`, whose versions the program reads without looking whether they are there. */
export const INFO: GoStruct = {
  fields: {
    arch: "string",
    provider: { fields: { provider: "string", orchestration: "string", version: VERSION } },
    version: VERSION,
  },
};

/** Returns JSON if Go decodes it into this type; throws what `json.Unmarshal` would complain of. */
export function decoded(text: string, type: GoType): unknown {
  const value: unknown = JSON.parse(text);
  check(value, type, "$");
  return value;
}

function check(value: unknown, type: GoType, at: string): void {
  if (value === null) return;
  if (typeof type === "string") {
    if (!isOf(value, type)) throw new Error(`json: cannot unmarshal ${JSON.stringify(value)} at ${at} into ${type}`);
  } else if ("list" in type) {
    if (!Array.isArray(value)) throw new Error(`json: cannot unmarshal ${JSON.stringify(value)} at ${at} into a slice`);
    value.forEach((item, index) => check(item, type.list, `${at}[${index}]`));
  } else {
    if (typeof value !== "object" || Array.isArray(value)) throw new Error(`json: ${at} is no object`);
    for (const [name, field] of Object.entries(value)) {
      const known = "map" in type ? type.map : type.fields[name];
      if (known !== undefined) check(field, known, `${at}.${name}`);
    }
  }
}

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

function isOf(value: unknown, type: Exclude<GoType, GoMap | GoList | GoStruct>): boolean {
  if (type === "uint64") return Number.isInteger(value) && Number(value) >= 0;
  if (type === "float64") return typeof value === "number";
  if (type === "bool") return typeof value === "boolean";
  return typeof value === "string" && (type === "string" || RFC3339.test(value));
}

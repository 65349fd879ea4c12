import { inRepository } from "../../../../.ci/steps.ts";
import { SERVER_IMAGE } from "./images.ts";

/** The administrators' key of the servers. */
export const KEY = "key-of-this-test";

/** Fills the manual's file in, as its first lines say, and changes nothing else. */
export async function filledIn(databaseUrl: string): Promise<string> {
  const values = {
    "registry.example.com/slipway:VERSION": SERVER_IMAGE,
    "postgres://slipway:PASSWORD@db.example.com/slipway?sslmode=verify-full": databaseUrl,
    "secret-key: REPLACE": `secret-key: ${Buffer.alloc(32, 7).toString("base64")}`,
    "api-key: REPLACE": `api-key: ${KEY}`,
  };
  let text = await Bun.file(inRepository("lib/docs/deploy/kubernetes.yaml")).text();
  for (const [place, value] of Object.entries(values)) {
    if (text.split(place).length !== 2) throw new Error(`kubernetes.yaml has not "${place}" once`);
    text = text.replace(place, value);
  }
  return text;
}

/** Changes the file as it says for nodes that have an engine of Docker. */
export function withNodesEngines(yaml: string): string {
  const items = Bun.YAML.parse(yaml) as { kind: string; spec: { template: { spec: PodSpec } } }[]; // as written there
  interface PodSpec {
    containers: { readonly name: string }[];
    volumes: { readonly name: string }[];
  }
  const pod = items.find(({ kind }) => kind === "DaemonSet")?.spec.template.spec;
  if (pod === undefined) throw new Error("kubernetes.yaml has no DaemonSet");
  pod.containers = pod.containers.filter(({ name }) => name !== "engine");
  const hostPath = { path: "/var/run", type: "Directory" };
  pod.volumes = pod.volumes.map((volume) => (volume.name === "engine" ? { name: "engine", hostPath } : volume));
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import { OWNER_LABEL } from "../../../lib/docker/api/containers.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { eventually } from "../../support/pace.ts";
import { type Kubernetes, startKubernetes } from "./kubernetes/cluster.ts";
import { filledIn, KEY, withNodesEngines } from "./kubernetes/manifest.ts";
import { type Outside, startOutside } from "./kubernetes/outside.ts";
import { call, endsOf, Load, submit, type Target } from "./support/load.ts";

/** The folder with Kubernetes's programs: a campaign of contributing.md. */
const PROGRAMS = process.env["KUBERNETES"];
const NODES = 3;
/** Longer than a Pod takes to start or to stop on a busy machine. */
const LONG_MS = 180_000;
const TIMEOUT_MS = 900_000;
/** Clients wait between their calls: the machine has control plane and nodes to run, too. */
const UNHURRIED = { pause_ms: 50 };

test("kubernetes.yaml has only those places to fill in that it names", async () => {
  const text = await filledIn("postgres://slipway@10.0.0.1/slipway");
  expect(text).not.toMatch(/REPLACE|PASSWORD|VERSION|example\.com/);
});

/** The file of the manual on a cluster: three nodes with a kubelet and an engine each, whose Pods have engines of their own. */
function onCluster(programs: string): void {
  let outside: Outside;
  let cluster: Kubernetes;
  let target: Target;

  const kubectl = (...words: readonly string[]) => cluster.plane.kubectl("-n", "slipway", ...words);
  /** Returns a field of each Pod by its node. */
  const pods = async (field: string): Promise<Map<string, string>> => {
    const path = `{range .items[*]}{.spec.nodeName}={${field}}{"\\n"}{end}`;
    const lines = (await kubectl("get", "pods", "-o", `jsonpath=${path}`)).trim().split("\n");
    return new Map(lines.map((line) => [line.split("=")[0] ?? "", line.split("=")[1] ?? ""]));
  };
  /** Waits until so many Pods are behind the Service. */
  const untilReady = async (count: number) => {
    const ready = async () => {
      const path = "jsonpath={.subsets[*].addresses[*].ip}";
      return (await kubectl("get", "endpoints", "slipway", "-o", path)).split(" ").filter(Boolean).length === count;
    };
    if (await eventually(ready, LONG_MS)) return;
    throw new Error(`Not ${count} Pods are ready:\n${await kubectl("describe", "pods")}`);
  };
  const podOn = async (node: string) => (await pods(".metadata.name")).get(node) ?? "";
  /** Ends a container of a Pod with SIGKILL, as the kernel does. */
  const kill = async (number: number, container: string) => {
    const engine = cluster.nodes[number - 1]?.engine;
    const filters = JSON.stringify({ label: [`io.kubernetes.container.name=${container}`] });
    const found = await engine?.json("GET", `/containers/json?filters=${encodeURIComponent(filters)}`);
    const [{ Id = "" } = {}] = found as { Id?: string }[]; // the engine's own format
    await engine?.request("POST", `/containers/${Id}/kill`);
  };

  beforeAll(async () => {
    cluster = await startKubernetes(programs, NODES);
    outside = await startOutside(cluster.network);
    await cluster.plane.kubectl("create", "namespace", "slipway");
    await cluster.plane.apply(await filledIn(outside.databaseUrl), "slipway");
    await untilReady(NODES);
    const url = `http://${await kubectl("get", "service", "slipway", "-o", "jsonpath={.spec.clusterIP}")}`;
    const made = await fetch(`${url}/v1/functions`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ image: outside.image, max_calls: 10_000, warm_min: 1 }),
    });
    const { data: fn } = (await made.json()) as { data: Function }; // an envelope
    target = { url, key: KEY, id: fn.id };
  }, TIMEOUT_MS);
  afterAll(async () => {
    await outside[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  }, TIMEOUT_MS);

  test(
    "a function is called by the Service and by each Pod, whose server has the name of its node",
    async () => {
      expect(await call(target, '{"by":"the Service"}', false)).toMatchObject({ status: 200 });
      const addresses = await pods(".status.podIP");
      expect([...addresses.keys()].toSorted()).toEqual(["node-1", "node-2", "node-3"]);
      for (const [node, address] of addresses) {
        const pod = { ...target, url: `http://${address}:9999` };
        const body = JSON.stringify({ on: node });
        // A Pod knows a function of another one a moment later.
        expect(await eventually(async () => (await call(pod, body, false)).text === body, LONG_MS)).toBe(true);
        expect(await endsOf(pod, [await submit(pod, body)])).toEqual({ succeeded: 1 });
      }
      const system = await fetch(`${target.url}/v1/system`, { headers: { authorization: `Bearer ${KEY}` } });
      const { data } = (await system.json()) as { data: { servers: { id: string; url: string }[] } }; // an envelope
      expect(Object.fromEntries(data.servers.map(({ id, url }) => [id, url]))).toEqual(
        Object.fromEntries([...addresses].map(([node, address]) => [node, `http://${address}:9999`])),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "a rollout under load fails no call and loses no submission",
    async () => {
      // Pods that are not available yet, by `minReadySeconds`, are stopped all at once.
      await kubectl("rollout", "status", "daemonset/slipway", "--timeout=10m");
      const load = new Load(target, UNHURRIED);
      await kubectl("rollout", "restart", "daemonset/slipway");
      await kubectl("rollout", "status", "daemonset/slipway", "--timeout=10m");
      await load.stop();
      console.log({
        rollout: { answered: load.answered, submitted: load.submitted.length, max_ms: Math.max(...load.times) },
      });
      expect(load.failures.slice(0, 5)).toEqual([]);
      expect(Math.min(load.answered, load.submitted.length)).toBeGreaterThan(10);
      expect(await endsOf(target, load.submitted)).toEqual({ succeeded: load.submitted.length });
    },
    TIMEOUT_MS,
  );

  test(
    "a node is emptied by a taint, as a drain leaves Pods of a DaemonSet alone, and no call fails",
    async () => {
      const load = new Load(target, UNHURRIED);
      await kubectl("drain", "node-2", "--ignore-daemonsets", "--delete-emptydir-data");
      expect(await podOn("node-2")).not.toBe("");
      await kubectl("taint", "node", "node-2", "slipway=out:NoExecute");
      expect(await eventually(async () => (await podOn("node-2")) === "", LONG_MS)).toBe(true);
      await kubectl("taint", "node", "node-2", "slipway-");
      await kubectl("uncordon", "node-2");
      await untilReady(NODES);
      await load.stop();
      expect(load.failures.slice(0, 5)).toEqual([]);
      expect(await endsOf(target, load.submitted)).toEqual({ succeeded: load.submitted.length });
    },
    TIMEOUT_MS,
  );

  test(
    "a killed server and a killed engine are started again, and what was answered with 202 ends",
    async () => {
      for (const container of ["slipway", "engine"]) {
        const restarts = async () => {
          const path = `.status.containerStatuses[?(@.name=="${container}")].restartCount`;
          return Number((await pods(path)).get("node-1"));
        };
        const before = await restarts();
        const load = new Load(target, UNHURRIED);
        expect(await eventually(() => load.submitted.length > 5, LONG_MS)).toBe(true);
        await kill(1, container);
        expect(await eventually(async () => (await restarts()) > before, LONG_MS)).toBe(true);
        await untilReady(NODES);
        await load.stop();
        console.log({ killed: container, answered: load.answered, failed: load.failures.length });
        expect(await endsOf(target, load.submitted)).toEqual({ succeeded: load.submitted.length });
      }
    },
    TIMEOUT_MS,
  );

  test(
    "what a node that is cut off has answered with 202 ends on the others",
    async () => {
      const addresses = await pods(".status.podIP");
      const [alive, cut] = ["node-1", "node-3"].map((node) => ({
        ...target,
        url: `http://${addresses.get(node)}:9999`,
      }));
      if (alive === undefined || cut === undefined) throw new Error("There are no Pods");
      const ids = await Promise.all(Array.from({ length: 20 }, (_, n) => submit(cut, JSON.stringify({ n }))));
      await cluster.network.set(3, "down");
      await untilReady(NODES - 1);
      // Not by the Service: this process keeps connections that it may have had to that node.
      expect(await endsOf(alive, ids)).toEqual({ succeeded: ids.length });
      await cluster.network.set(3, "up");
      await untilReady(NODES);
      expect(await call(cut, "{}", false)).toMatchObject({ status: 200 });
    },
    TIMEOUT_MS,
  );

  test(
    "servers use the engines of their nodes, if the file is changed as it says",
    async () => {
      await cluster.plane.apply(withNodesEngines(await filledIn(outside.databaseUrl)), "slipway");
      await kubectl("rollout", "status", "daemonset/slipway", "--timeout=10m");
      await untilReady(NODES);
      for (const [node, address] of await pods(".status.podIP")) {
        const body = JSON.stringify({ on: node });
        expect(await call({ ...target, url: `http://${address}:9999` }, body, false)).toMatchObject({ text: body });
      }
      for (const { engine } of cluster.nodes) {
        const filters = JSON.stringify({ label: [OWNER_LABEL] });
        const found = await engine.json("GET", `/containers/json?filters=${encodeURIComponent(filters)}`);
        expect(found).not.toEqual([]);
      }
    },
    TIMEOUT_MS,
  );
}

if (PROGRAMS !== undefined) describe("on a cluster", () => onCluster(resolve(PROGRAMS)));

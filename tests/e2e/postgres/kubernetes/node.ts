import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { ensureProgram } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";
import { type ControlPlane, flagsOf } from "./control-plane.ts";
import { PAUSE_IMAGE } from "./images.ts";
import { Machine } from "./machine.ts";
import type { Network } from "./network.ts";

/** Longer than an engine takes to start on a busy machine. */
const START_MS = 60_000;

/**
 * The runtime of a node. Some machines keep CAP_SYS_RESOURCE even from root. There no process can be protected from the OOM killer,
 * which a kubelet asks for Pods, and no container can be given all capabilities: they get the others.
 */
const RUNTIME = `#!/bin/sh
if ! (echo -999 > /proc/self/oom_score_adj) 2> /dev/null; then
  previous=
  for word; do
    case "$previous" in
      --bundle) file=$word/config.json ;;
      --process) file=$word ;;
      *) file= ;;
    esac
    if [ -n "$file" ]; then sed -i 's/"oomScoreAdj":-*[0-9]*/"oomScoreAdj":0/; s/"CAP_SYS_RESOURCE",//g' "$file"; fi
    previous=$word
  done
fi
exec runc "$@"
`;

/** A node: a machine with an engine for Pods and a kubelet. */
export class Node implements AsyncDisposable {
  readonly number: number;
  readonly machine: Machine;
  readonly engine: EngineClient;

  private constructor(number: number, machine: Machine) {
    this.number = number;
    this.machine = machine;
    this.engine = new EngineClient(`unix://${join(machine.directory, "docker.sock")}`);
  }

  /** Starts a node without images or a kubelet. */
  static async create(number: number, directory: string, network: Network): Promise<Node> {
    const dockerd = await ensureProgram("dockerd", ["docker.io", "iptables", "ca-certificates"]);
    const machine = await Machine.start(join(directory, `node-${number}`));
    await network.add(number, machine);
    const node = new Node(number, machine);
    const runtime = join(machine.directory, "runtime");
    await writeFile(runtime, RUNTIME, { mode: 0o755 });
    const flags = {
      bip: network.podsOf(number),
      iptables: "false",
      "ip-masq": "false",
      "log-level": "warn",
      "add-runtime": `node=${runtime}`,
      "default-runtime": "node",
      // That of tests has no TLS.
      "insecure-registry": "10.0.0.0/8",
    };
    const sockets = ["--host=unix:///var/run/docker.sock", `--host=${node.engine.host}`];
    machine.spawn("dockerd", [dockerd, ...flagsOf(flags), ...sockets]);
    if (await eventually(() => node.engine.ping(1_000), START_MS)) return node;
    throw new Error(`No engine comes up: ${machine.logOf("dockerd")}`);
  }

  get name(): string {
    return `node-${this.number}`;
  }

  /** Starts its kubelet, which adds it to the cluster. */
  join({ programs, kubeconfig }: ControlPlane, network: Network): void {
    const flags = {
      kubeconfig,
      "hostname-override": this.name,
      "node-ip": network.addressOf(this.number),
      "pod-infra-container-image": PAUSE_IMAGE,
      "cgroup-driver": "cgroupfs",
      "fail-swap-on": "false",
      // The disk is this machine's.
      "eviction-hard": "memory.available<1Mi",
      "image-gc-high-threshold": "100",
      "resolv-conf": "",
      "volume-plugin-dir": "/var/lib/kubelet/volume-plugins",
    };
    this.machine.spawn("kubelet", [join(programs, "kubelet"), ...flagsOf(flags)]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.machine[Symbol.asyncDispose]();
  }
}

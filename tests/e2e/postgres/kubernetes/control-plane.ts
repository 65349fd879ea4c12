import { join } from "node:path";
import { run, runOrThrow } from "../../../../.ci/packages.ts";
import { eventually } from "../../../support/pace.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";

/** Longer than etcd and the API take to start on a busy machine. */
const START_MS = 120_000;
const TOKEN = "token-of-this-test";

/** The first machine: etcd, the API, the scheduler, the controllers, and the way to Services. */
export class ControlPlane {
  /** The directory with Kubernetes's programs. */
  readonly programs: string;
  readonly kubeconfig: string;
  readonly #machine: Machine;

  private constructor(programs: string, machine: Machine) {
    this.programs = programs;
    this.#machine = machine;
    this.kubeconfig = join(machine.directory, "kubeconfig");
  }

  static async start(programs: string, machine: Machine, network: Network): Promise<ControlPlane> {
    const plane = new ControlPlane(programs, machine);
    const at = (name: string) => join(machine.directory, name);
    await Bun.write(plane.kubeconfig, kubeconfig(`https://${network.control}:6443`));
    await Bun.write(at("tokens"), `${TOKEN},tests,tests,system:masters\n`);
    await runOrThrow(["openssl", "genrsa", "-out", at("accounts.key"), "2048"]);
    const peers = "http://127.0.0.1:2380";
    const clients = "http://127.0.0.1:2379";
    plane.#spawn("etcd", {
      "data-dir": at("etcd"),
      "listen-client-urls": clients,
      "advertise-client-urls": clients,
      "listen-peer-urls": peers,
      "unsafe-no-fsync": "true",
    });
    plane.#spawn("kube-apiserver", {
      "etcd-servers": clients,
      "bind-address": network.control,
      "advertise-address": network.control,
      "cert-dir": at("certificates"),
      "token-auth-file": at("tokens"),
      "authorization-mode": "RBAC",
      "service-cluster-ip-range": network.services,
      "service-account-issuer": "tests",
      "service-account-key-file": at("accounts.key"),
      "service-account-signing-key-file": at("accounts.key"),
      "allow-privileged": "true",
      "kubelet-preferred-address-types": "InternalIP",
    });
    const isReady = async () => (await plane.try("get", "--raw", "/readyz")) === "ok";
    if (!(await eventually(isReady, START_MS))) throw new Error(`No API comes up: ${machine.logOf("kube-apiserver")}`);
    const { kubeconfig: config } = plane;
    plane.#spawn("kube-controller-manager", {
      kubeconfig: config,
      "service-account-private-key-file": at("accounts.key"),
      "leader-elect": "false",
    });
    plane.#spawn("kube-scheduler", { kubeconfig: config, "leader-elect": "false" });
    plane.#spawn("kube-proxy", {
      kubeconfig: config,
      "hostname-override": "control",
      // These are of the whole machine.
      "conntrack-max-per-core": "0",
      "conntrack-min": "0",
      "conntrack-tcp-timeout-established": "0",
      "conntrack-tcp-timeout-close-wait": "0",
    });
    return plane;
  }

  /** Runs kubectl and returns what it prints. */
  kubectl(...words: readonly string[]): Promise<string> {
    return runOrThrow(this.#command(words));
  }

  /** Applies a file in a namespace. */
  apply(yaml: string, namespace: string): Promise<string> {
    return runOrThrow(this.#command(["apply", "-n", namespace, "-f", "-"]), Buffer.from(yaml));
  }

  /** Returns what kubectl prints, or nothing if it fails. */
  async try(...words: readonly string[]): Promise<string> {
    const { code, stdout } = await run(this.#command(words));
    return code === 0 ? stdout : "";
  }

  #command(words: readonly string[]): string[] {
    const cache = ["--cache-dir", join(this.#machine.directory, "cache")];
    return [join(this.programs, "kubectl"), "--kubeconfig", this.kubeconfig, ...cache, ...words];
  }

  #spawn(name: string, flags: Readonly<Record<string, string>>): void {
    this.#machine.spawn(name, [join(this.programs, name), ...flagsOf(flags)]);
  }
}

/** Returns the flags of a program as its arguments. */
export function flagsOf(flags: Readonly<Record<string, string>>): string[] {
  return Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
}

function kubeconfig(server: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "tests", cluster: { server, "insecure-skip-tls-verify": true } }],
    users: [{ name: "tests", user: { token: TOKEN } }],
    contexts: [{ name: "tests", context: { cluster: "tests", user: "tests", namespace: "slipway" } }],
    "current-context": "tests",
  });
}

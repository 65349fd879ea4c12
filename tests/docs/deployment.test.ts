import { COMMANDS } from "../../lib/cli/command-table.ts";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { OPTIONS } from "../../lib/config/options.ts";
import { ROOT } from "./support/markdown-blocks.ts";

const variables: ReadonlySet<string> = new Set(Object.values(OPTIONS).map(({ variable }) => variable));

test("docker-compose.yml sets variables that the server has, and publishes its port only on loopback", async () => {
  const file: unknown = Bun.YAML.parse(await Bun.file(join(ROOT, "docker-compose.yml")).text());
  expect(file).toMatchObject({
    services: {
      slipway: {
        ports: ["127.0.0.1:9999:9999"],
        environment: { AUTH: "off", TRUST_GATEWAY: "on" },
        stop_grace_period: "45s",
        // C12
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
        pids_limit: 512,
        ulimits: { core: 0 },
      },
    },
  });
  const { environment } = (file as { services: { slipway: { environment: object } } }).services.slipway; // as above
  expect(Object.keys(environment).filter((name) => !variables.has(name))).toEqual([]);
});

test("slipway.service sets variables that the server has, and gives it more time to stop than calls get", async () => {
  const unit = await Bun.file(join(ROOT, ".ci/slipway.service")).text();
  const set = [...unit.matchAll(/^Environment=(\w+)=/gm)].map(([, name = ""]) => name);
  expect(set.length).toBeGreaterThan(0);
  expect(set.filter((name) => !variables.has(name))).toEqual([]);
  expect(unit).toContain("\nTimeoutStopSec=45\n");
  expect(unit).toContain("\nLimitCORE=0\n");
  // F6
  const commands = [...unit.matchAll(/^Exec\w+=-?\/usr\/local\/bin\/slipway (\S+)$/gm)].map(([, command]) => command);
  expect(commands).toEqual(["serve", "sweep"]);
  expect(Object.keys(COMMANDS)).toEqual(expect.arrayContaining(commands));
});

/** The time that a file's server may take to stop, from its own settings: the delay, then the default of DRAIN_MS. */
function stopMs(delay: string | undefined): number {
  expect(delay).toBeString();
  return OPTIONS.drainDelayMs.read(delay ?? "") + OPTIONS.drainMs.read(OPTIONS.drainMs.default);
}

const deploy = (name: string) => Bun.file(join(ROOT, "lib/docs/deploy", name)).text();

test("kubernetes.yaml has a server on each node, which is told apart, probed, and given time to stop", async () => {
  const documents = Bun.YAML.parse(await deploy("kubernetes.yaml")) as { kind: string; spec: PodOwner }[]; // as written there
  interface PodOwner {
    readonly template: { readonly spec: PodSpec };
  }
  interface Variable {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: object;
  }
  interface PodSpec {
    readonly terminationGracePeriodSeconds: number;
    readonly containers: { readonly name: string; readonly env: Variable[] }[];
  }
  const pod = documents.find(({ kind }) => kind === "DaemonSet")?.spec.template.spec;
  const server = pod?.containers[0];
  const env = server?.env ?? [];
  expect(env.filter(({ name }) => name !== "POD_IP" && !variables.has(name))).toEqual([]);
  expect(env).toContainEqual({ name: "SERVER_ID", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } });
  expect(server).toMatchObject({
    readinessProbe: { httpGet: { path: "/readyz" } },
    livenessProbe: { httpGet: { path: "/healthz" } },
    // A migration of the database may take long, and nothing is listened to meanwhile.
    startupProbe: { httpGet: { path: "/healthz" }, periodSeconds: 2, failureThreshold: 1_800 },
  });
  const delay = env.find(({ name }) => name === "DRAIN_DELAY_MS")?.value;
  expect((pod?.terminationGracePeriodSeconds ?? 0) * 1_000).toBeGreaterThan(stopMs(delay));
});

test("swarm-stack.yml has a server on each node, which is told apart, and given time to stop", async () => {
  const file = Bun.YAML.parse(await deploy("swarm-stack.yml")) as { services: { server: SwarmService } }; // as written there
  interface SwarmService {
    readonly environment: Record<string, string>;
    readonly stop_grace_period: string;
  }
  const { server } = file.services;
  expect(Object.keys(server.environment).filter((name) => !variables.has(name))).toEqual([]);
  expect(server).toMatchObject({
    environment: { SERVER_ID: "{{.Node.Hostname}}" },
    healthcheck: { start_period: "1h" },
    deploy: { mode: "global", update_config: { order: "stop-first", parallelism: 1 } },
    ports: [{ mode: "host" }],
  });
  const delay = /:-(\w+)\}/.exec(server.environment["DRAIN_DELAY_MS"] ?? "")?.[1];
  expect(Number.parseInt(server.stop_grace_period, 10) * 1_000).toBeGreaterThan(stopMs(delay));
});

test("several-machines.conf sets variables that the server has, and gives it more time to stop than it takes", async () => {
  const unit = await deploy("several-machines.conf");
  const set = new Map([...unit.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name = "", value]) => [name, value]));
  expect([...set.keys()].filter((name) => !variables.has(name))).toEqual([]);
  for (const name of ["database-url", "secret-key", "api-key"])
    expect(unit).toContain(`LoadCredential=${name}:/etc/slipway/${name}`);
  const seconds = /^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1];
  expect(Number(seconds) * 1_000).toBeGreaterThan(stopMs(set.get("DRAIN_DELAY_MS")));
});

// C12: Bun otherwise runs the install scripts of packages on a list of its own, one of which reports home.
test("package.json trusts no install script", async () => {
  const { trustedDependencies } = (await Bun.file(join(ROOT, "package.json")).json()) as Record<string, unknown>;
  expect(trustedDependencies).toEqual([]);
});

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

// C12: Bun otherwise runs the install scripts of packages on a list of its own, one of which reports home.
test("package.json trusts no install script", async () => {
  const { trustedDependencies } = (await Bun.file(join(ROOT, "package.json")).json()) as Record<string, unknown>;
  expect(trustedDependencies).toEqual([]);
});

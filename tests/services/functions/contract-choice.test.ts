import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import type { ImageSignals } from "../../../lib/domain/functions/detection.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { ApplyOptions } from "../../../lib/domain/manifest/manifest.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { manifestServices } from "../support/fake-engine.ts";

const PLAIN: ApplyOptions = { dry_run: false, prune: false, pull: false };
const FILES = {
  contract: "files",
  contract_reason: "default",
  port: null,
  port_reason: null,
  extra_ports: [],
} as const;

/** Services whose engine has images that say this, and lets some of them listen in a trial. */
function servicesWith(signs: Readonly<Record<string, Partial<ImageSignals>>>, listening: readonly string[] = []) {
  const set = manifestServices();
  for (const [image, sign] of Object.entries(signs)) set.engine.signs.set(image, sign);
  const tried: Function[] = [];
  set.engine.trialBoot = async (fn) => {
    tried.push(fn);
    return listening.includes(fn.image) ? { listens: true } : { listens: false, why: "it ended" };
  };
  return { ...set, tried, [Symbol.dispose]: () => set[Symbol.dispose]() };
}

const NGINX = { command: ["nginx"], exposed_ports: [80] };
const CADDY = { exposed_ports: [80, 443] };
const WATCHDOG = { command: ["fwatchdog"], variables: { mode: "http", upstream_url: "http://127.0.0.1:3000" } };

describe("a registration", () => {
  test("of an image that says nothing, or of the seed's, starts nothing and is `files`", async () => {
    using set = servicesWith({ hello: { exposed_ports: [] } });
    expect(await set.functions.create({ image: "hello" })).toMatchObject(FILES);
    expect(set.tried).toEqual([]);
  });

  test("of an image that exposes one port is `http` if it listens in a trial, and `files` if it ends", async () => {
    using set = servicesWith({ nginx: NGINX, batch: NGINX }, ["nginx"]);
    const served = { contract: "http", contract_reason: "exposed_port", port: 80, port_reason: "exposed" };
    expect(await set.functions.create({ image: "nginx", environment: { A: "1" } })).toMatchObject({
      ...served,
      network: "isolated",
    });
    expect(set.tried[0]).toMatchObject({
      image: "nginx",
      image_id: "id of nginx",
      contract: "http",
      port: 80,
      environment: { A: "1" },
    });
    expect(await set.functions.create({ image: "batch" })).toMatchObject({
      ...FILES,
      contract_reason: "ended",
      network: "bridge",
    });
  });

  test("and a change say in `warnings` how an image ended in its trial", async () => {
    using set = servicesWith({ nginx: NGINX, batch: NGINX }, ["nginx"]);
    const warnings = [
      'The contract is "files", as the image did not listen in its trial: it ended. If it is a server, give "contract": "http"',
    ];
    const { id, ...created } = await set.functions.create({ image: "batch" });
    expect(created.warnings).toEqual(warnings);
    expect(set.functions.get(id)).not.toHaveProperty("warnings");
    for (const [image, said] of [
      ["plain", undefined],
      ["batch", warnings],
      ["nginx", undefined],
    ] as const) {
      expect((await set.functions.update(id, { image })).warnings).toEqual(said);
    }
    expect((await set.functions.update(id, { memory_bytes: 64 << 20 })).warnings).toBeUndefined();
  });

  test("of an image with a variable PORT is tried as well", async () => {
    using set = servicesWith({ run: { variables: { PORT: "3000" } } }, ["run"]);
    const served = { contract: "http", contract_reason: "port_variable", port: 3000, port_reason: "variable" };
    expect(await set.functions.create({ image: "run" })).toMatchObject(served);
  });

  test("of an image with several ports needs a contract and a port, unless it is no server at all", async () => {
    using set = servicesWith({ caddy: CADDY, batch: CADDY }, ["caddy"]);
    expect(await rejectionOf(set.functions.create({ image: "caddy" }))).toMatchObject({
      reason: "invalid_request",
      message:
        'Image "caddy" exposes the ports 80, 443: give "contract" and, for "http", the "port" that takes requests',
    });
    expect(await set.functions.create({ image: "batch" })).toMatchObject({ ...FILES, contract_reason: "ended" });
    const given = { contract: "http", contract_reason: "exposed_port", port: 443, port_reason: "setting" };
    expect(await set.functions.create({ image: "caddy", port: 443 })).toMatchObject(given);
    expect(await rejectionOf(set.functions.create({ image: "caddy", contract: "http" }))).toMatchObject({
      message: 'Image "caddy" exposes the ports 80, 443: give as "port" the one that takes requests',
    });
  });

  test("with a contract starts nothing", async () => {
    using set = servicesWith({ nginx: NGINX });
    expect(await set.functions.create({ image: "nginx", contract: "files" })).toMatchObject({
      ...FILES,
      contract_reason: "setting",
    });
    const http = { contract: "http", contract_reason: "setting", port: 80, port_reason: "exposed" };
    expect(await set.functions.create({ image: "nginx", contract: "http" })).toMatchObject(http);
    const set3000 = { ...http, port: 3000, port_reason: "setting" };
    expect(await set.functions.create({ image: "nginx", contract: "http", port: 3000 })).toMatchObject(set3000);
    expect(set.tried).toEqual([]);
  });

  test("with settings that no server can have starts nothing and is `files`", async () => {
    using set = servicesWith({ nginx: NGINX }, ["nginx"]);
    expect(await set.functions.create({ image: "nginx", share_network: true })).toMatchObject(FILES);
    expect(await set.functions.create({ image: "nginx", isolation: "process" })).toMatchObject(FILES);
    expect(set.tried).toEqual([]);
  });

  test("takes what the labels say", async () => {
    using set = servicesWith({ app: NGINX });
    set.engine.labels.set("app", { "slipway.contract": "http", "slipway.port": "81", "slipway.ready_path": "/up" });
    const said = { contract: "http", contract_reason: "label", port: 81, port_reason: "label", ready_path: "/up" };
    expect(await set.functions.create({ image: "app" })).toMatchObject(said);
    set.engine.labels.set("app", { "slipway.contract": "stdio", "slipway.port": "81" });
    expect(await set.functions.create({ image: "app" })).toMatchObject({
      ...FILES,
      contract: "stdio",
      contract_reason: "label",
    });
  });

  test("waits for the server behind a watchdog", async () => {
    using set = servicesWith({ watchdog: WATCHDOG });
    const served = {
      contract: "http",
      contract_reason: "watchdog",
      port: 8080,
      port_reason: "default",
      extra_ports: [3000],
    };
    expect(await set.functions.create({ image: "watchdog" })).toMatchObject(served);
  });

  test("knows images for AWS Lambda, and refuses settings of a contract that one does not turn out to have", async () => {
    using set = servicesWith({ lambda: { entrypoint: ["/lambda-entrypoint.sh"] } });
    const lambda = { contract: "lambda", contract_reason: "lambda_runtime", port: null, port_reason: null };
    expect(await set.functions.create({ image: "lambda" })).toMatchObject(lambda);
    expect(await set.functions.create({ image: "lambda", contract: "files" })).toMatchObject({ contract: "files" });
    expect(await rejectionOf(set.functions.create({ image: "plain", port: 80 }))).toMatchObject({
      message:
        '"port" belongs to the contract "http", and the contract is "files": leave it out, or give the contract "http"',
    });
    const both = set.functions.create({ image: "plain", port: 80, output: "cgi" });
    expect(await rejectionOf(both)).toBeInstanceOf(AppError);
    expect(set.engine.pulled.filter((image) => image === "plain")).toHaveLength(1);
  });

  test("tells of an engine that cannot start the trial", async () => {
    using set = servicesWith({ nginx: NGINX });
    set.engine.trialBoot = () => Promise.reject(new AppError("engine_unavailable", "Gone"));
    expect(await rejectionOf(set.functions.create({ image: "nginx" }))).toMatchObject({ reason: "engine_unavailable" });
    expect(await set.functions.list()).toEqual([]);
  });
});

describe("a change", () => {
  test("of the image looks at it anew, unless the contract was a setting", async () => {
    using set = servicesWith({ nginx: NGINX, watchdog: WATCHDOG }, ["nginx"]);
    const { id } = await set.functions.create({ image: "plain" });
    const http = { contract: "http", contract_reason: "exposed_port", port: 80, port_reason: "exposed", version: 2 };
    expect(await set.functions.update(id, { image: "nginx" })).toMatchObject({ ...http, network: "isolated" });
    expect(set.tried[0]).toMatchObject({ id, image: "nginx", image_id: "id of nginx", contract: "http", port: 80 });
    expect(await set.functions.update(id, { image: "watchdog" })).toMatchObject({
      contract_reason: "watchdog",
      port: 8080,
      extra_ports: [3000],
    });
    expect(await set.functions.update(id, { image: "plain" })).toMatchObject(FILES);
    await set.functions.update(id, { contract: "files" });
    expect(await set.functions.update(id, { image: "nginx" })).toMatchObject({ ...FILES, contract_reason: "setting" });
    await set.functions.update(id, { contract: "http" });
    expect(await set.functions.update(id, { image: "plain" })).toMatchObject({
      contract: "http",
      port: 8080,
      port_reason: "default",
    });
    expect(set.tried).toHaveLength(1);
  });

  test("of the contract brings the port with it, and takes it along", async () => {
    using set = servicesWith({ nginx: NGINX });
    const { id } = await set.functions.create({ image: "nginx", contract: "files" });
    const http = { contract: "http", contract_reason: "setting", port: 80, port_reason: "exposed", warm_max: 3 };
    expect(await set.functions.update(id, { contract: "http" })).toMatchObject(http);
    expect(await set.functions.update(id, { contract: "files" })).toMatchObject({
      ...FILES,
      contract_reason: "setting",
      warm_max: 10,
    });
    const stdio = { contract: "stdio", port: null, port_reason: null };
    expect(await set.functions.update(id, { contract: "stdio", output: "cgi" })).toMatchObject(stdio);
    expect(await rejectionOf(set.functions.update(id, { port: 80 }))).toMatchObject({
      message: expect.stringContaining('belongs to the contract "http"'),
    });
  });

  test("of a variable PORT is one of the port, unless that was a setting", async () => {
    using set = servicesWith({ nginx: NGINX });
    const { id } = await set.functions.create({ image: "nginx", contract: "http" });
    const variable = { port: 3000, port_reason: "variable" };
    expect(await set.functions.update(id, { environment: { PORT: "3000" } })).toMatchObject(variable);
    expect(await set.functions.update(id, { environment: {} })).toMatchObject({ port: 80, port_reason: "exposed" });
    expect(await set.functions.update(id, { port: 81 })).toMatchObject({ port: 81, port_reason: "setting" });
    expect(await set.functions.update(id, { environment: { PORT: "3000" } })).toMatchObject({
      port: 81,
      port_reason: "setting",
    });
    expect(await set.functions.update(id, { port: null })).toMatchObject(variable);
    set.engine.lost.add("id of nginx");
    expect(await set.functions.update(id, { environment: {} })).toMatchObject(variable);
  });

  test("by a pull follows the port of the new image, but keeps the contract", async () => {
    using set = servicesWith({ nginx: NGINX });
    const { id } = await set.functions.create({ image: "nginx", contract: "http" });
    set.engine.signs.set("nginx", { exposed_ports: [8081] });
    expect(await set.functions.pull(id)).toMatchObject({ port: 8081, contract_reason: "setting", version: 2 });
    set.engine.signs.set("nginx", CADDY);
    expect(await set.functions.pull(id)).toMatchObject({ port: 8081 });
  });
});

describe("a manifest", () => {
  test("says what only a trial could, and changes nothing where it was exported", async () => {
    using set = servicesWith({ nginx: NGINX, batch: NGINX, watchdog: WATCHDOG }, ["nginx"]);
    const images = {
      nginx: { image: "nginx" },
      batch: { image: "batch" },
      watchdog: { image: "watchdog" },
      plain: { image: "plain" },
    };
    await set.manifests.apply({ version: 1, functions: images }, PLAIN);
    expect(set.tried).toHaveLength(2);
    const exported = await set.manifests.export();
    expect(exported.functions).toEqual({
      nginx: { image: "nginx", contract: "http" },
      batch: { image: "batch", contract: "files" },
      watchdog: { image: "watchdog" },
      plain: { image: "plain" },
    });
    for (const manifest of [exported, { version: 1 as const, functions: images }]) {
      const { changes } = await set.manifests.apply(manifest, PLAIN);
      expect(changes.map(({ action }) => action)).toEqual(["unchanged", "unchanged", "unchanged", "unchanged"]);
    }
    expect(set.tried).toHaveLength(2);
  });

  test("starts nothing in a dry run", async () => {
    using set = servicesWith({ nginx: NGINX }, ["nginx"]);
    set.engine.labels.set("nginx", {});
    await set.manifests.apply(
      { version: 1, functions: { nginx: { image: "nginx", port: 80 } } },
      { ...PLAIN, dry_run: true },
    );
    expect(set.tried).toEqual([]);
  });

  test("with the settings of a server keeps them", async () => {
    using set = servicesWith({ nginx: NGINX });
    const web = {
      image: "nginx",
      contract: "http" as const,
      max_calls: 0,
      concurrency: 32,
      idle: "run" as const,
      network: "bridge",
    };
    await set.manifests.apply({ version: 1, functions: { web } }, PLAIN);
    expect(set.functions.get("web")).toMatchObject({ ...web, isolation: "container", port: 80, warm_max: 3 });
    expect((await set.manifests.export()).functions?.["web"]).toEqual(web);
  });
});

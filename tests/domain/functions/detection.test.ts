import { describe, expect, test } from "bun:test";
import { detectContract, extraPorts, type ImageSignals, portOf } from "../../../lib/domain/functions/detection.ts";
import type { Environment } from "../../../lib/domain/environment.ts";
import type { Settings } from "../../../lib/domain/functions/settings.ts";

const NOTHING: ImageSignals = { entrypoint: [], command: [], variables: {}, exposed_ports: [], labels: {} };
const FILES = { trial: false, contract: "files", reason: "default" } as const;

type Signs = Partial<ImageSignals>;

function detect(signs: Signs, own: Partial<Settings> = {}) {
  return detectContract({ ...NOTHING, ...signs }, own);
}

function http(reason: string) {
  return { trial: false, contract: "http", reason };
}

describe("detectContract", () => {
  // The configurations of well-known images.
  test.each<[what: string, signs: Signs, detected: object]>([
    ["the seed's images", { entrypoint: ["/bin/function"] }, FILES],
    ["a shell", { command: ["sh"], variables: {} }, FILES],
    ["node", { entrypoint: ["docker-entrypoint.sh"], command: ["node"] }, FILES],
    ["classic watchdog", { command: ["fwatchdog"], exposed_ports: [8080] }, http("watchdog")],
    ["of-watchdog with a path", { entrypoint: ["/usr/bin/fwatchdog"] }, http("watchdog")],
    ["a watchdog in a shell", { command: ["sh", "-c", "exec fwatchdog"] }, http("watchdog")],
    ["of-watchdog in variables", { command: ["run"], variables: { fprocess: "node index.js" } }, http("watchdog")],
    ["its newer variable", { variables: { function_process: "x" } }, http("watchdog")],
    [
      "the web adapter of AWS",
      { command: ["node"], variables: { AWS_LWA_PORT: "3000", LAMBDA_TASK_ROOT: "/" } },
      http("web_adapter"),
    ],
    ["a buildpack's process", { entrypoint: ["/cnb/process/web"] }, http("buildpack")],
    ["a buildpack's launcher", { entrypoint: ["/cnb/lifecycle/launcher"] }, http("buildpack")],
    ["functions-framework", { command: ["npx", "functions-framework", "--target=f"] }, http("functions_framework")],
    [
      "functions-framework in Python",
      { command: ["exec functions-framework-python --target f"] },
      http("functions_framework"),
    ],
    ["its variable", { variables: { FUNCTION_TARGET: "f" } }, http("functions_framework")],
    [
      "nginx",
      { command: ["nginx", "-g", "daemon off;"], exposed_ports: [80] },
      { trial: true, reason: "exposed_port", ports: [80] },
    ],
    ["caddy", { exposed_ports: [80, 443, 2019] }, { trial: true, reason: "exposed_port", ports: [80, 443, 2019] }],
    ["Cloud Run's samples", { variables: { PORT: "8080" } }, { trial: true, reason: "port_variable", ports: [] }],
  ])("knows %s", (_what, signs, detected) => {
    expect<object>(detect(signs)).toEqual(detected);
  });

  test("looks at the command that will run, and not at that of the image", () => {
    expect(detect({ command: ["fwatchdog"] }, { command: ["sort", "-u"] })).toEqual(FILES);
    expect(detect({ entrypoint: ["fwatchdog"], command: ["x"] }, { entrypoint: ["sh"] })).toEqual(FILES);
    expect<object>(detect({ entrypoint: ["sh"] }, { entrypoint: ["fwatchdog"] })).toEqual(http("watchdog"));
    expect(detect({ entrypoint: ["/cnb/process/web"] }, { entrypoint: ["sh"] })).toEqual(FILES);
    // The name of a program and not a part of another one.
    expect(detect({ command: ["my-fwatchdog-test", "fwatchdog.log"] })).toEqual(FILES);
  });

  test.each<Signs>([
    { entrypoint: ["/lambda-entrypoint.sh"], command: ["app.handler"] },
    { entrypoint: ["/lambda-entrypoint.sh"], command: ["app.handler"], variables: { AWS_LWA_PORT: "3000" } },
    { entrypoint: ["/usr/local/bin/npx", "aws-lambda-ric"], command: ["f"] },
    { entrypoint: ["python", "-m", "awslambdaric"] },
    { entrypoint: ["aws_lambda_ric"] },
    { command: ["java", "com.amazonaws.services.lambda.runtime.api.client.AWSLambda", "f"] },
    { command: ["sh", "-c", "exec /var/runtime/bootstrap"] },
    { variables: { LAMBDA_TASK_ROOT: "/var/task" } },
  ])("knows what AWS Lambda runs: %j", (signs) => {
    expect<object>(detect(signs)).toEqual({ trial: false, contract: "lambda", reason: "lambda_runtime" });
  });

  test("takes a task root alone for Lambda's only if nothing speaks for a server", () => {
    const variables = { LAMBDA_TASK_ROOT: "/var/task", PORT: "8080" };
    expect(detect({ variables })).toMatchObject({ trial: true, reason: "port_variable" });
    expect(detect({ variables: { LAMBDA_TASK_ROOT: "/", FUNCTION_TARGET: "f" } })).toMatchObject(
      http("functions_framework"),
    );
  });
});

describe("the port of a server", () => {
  const DEFAULT = { port: 8080, port_reason: "default" };

  test.each<[what: string, signs: Signs, environment: Environment, port: object | undefined]>([
    ["nothing", {}, {}, DEFAULT],
    ["one port", { exposed_ports: [80] }, {}, { port: 80, port_reason: "exposed" }],
    ["several ports", { exposed_ports: [80, 443] }, {}, undefined],
    [
      "several ports, the usual one among them",
      { exposed_ports: [80, 8080] },
      {},
      { port: 8080, port_reason: "exposed" },
    ],
    ["PORT", { exposed_ports: [80], variables: { PORT: "3000" } }, {}, { port: 3000, port_reason: "variable" }],
    [
      "PORT of the function",
      { variables: { PORT: "3000" } },
      { PORT: "4000" },
      { port: 4000, port_reason: "variable" },
    ],
    ["a PORT that is none", { exposed_ports: [80] }, { PORT: "http" }, { port: 80, port_reason: "exposed" }],
    ["a PORT beyond all", {}, { PORT: "65536" }, DEFAULT],
    [
      "the web adapter's",
      { variables: { AWS_LWA_PORT: "7000", PORT: "1" } },
      {},
      { port: 7000, port_reason: "variable" },
    ],
    ["a watchdog's", { command: ["fwatchdog"], exposed_ports: [1, 2] }, {}, DEFAULT],
    [
      "a watchdog's own",
      { command: ["fwatchdog"], variables: { port: "81" } },
      {},
      { port: 81, port_reason: "variable" },
    ],
    ["a variable `port` without a watchdog", { variables: { port: "81" } }, {}, DEFAULT],
  ])("follows from %s", (_what, signs, environment, port) => {
    expect<object | undefined>(portOf({ ...NOTHING, ...signs }, { environment })).toEqual(port);
  });

  test.each<[variables: Environment, ports: number[]]>([
    [{ mode: "http", upstream_url: "http://127.0.0.1:3000" }, [3000]],
    [{ mode: "http", upstream_url: "http://localhost:5000/path" }, [5000]],
    [{ mode: "http", upstream_url: "127.0.0.1:8082" }, [8082]],
    [{ mode: "http", upstream_url: "http://127.0.0.1" }, [80]],
    [{ mode: "http", upstream_url: "::" }, []],
    [{ mode: "http" }, []],
    [{ mode: "streaming", upstream_url: "http://127.0.0.1:3000" }, []],
    [{ upstream_url: "http://127.0.0.1:3000" }, []],
  ])("comes with that of the server behind a watchdog: %j", (variables, ports) => {
    expect(extraPorts({ ...NOTHING, command: ["fwatchdog"], variables }, {})).toEqual(ports);
    expect(extraPorts({ ...NOTHING, command: ["fwatchdog"] }, { environment: variables })).toEqual(ports);
    expect(extraPorts({ ...NOTHING, command: ["node"], variables }, {})).toEqual([]);
  });
});

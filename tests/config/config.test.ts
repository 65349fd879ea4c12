import { describe, expect, test } from "bun:test";
import { closest } from "fastest-levenshtein";
import { createProgram } from "../../lib/cli/program.ts";
import { ConfigError, readConfig, type Config, type Variables } from "../../lib/config/config.ts";
import { OPTIONS } from "../../lib/config/options.ts";

const MIB = 1024 ** 2;
const SECRET_KEY = Buffer.alloc(32, "k");
const machine = { memory_bytes: 4096 * MIB, cpus: 4, directory: "/here" };

function config(argv: readonly string[], env: Variables = {}): Config {
  let served: Config | undefined;
  const serve = async (config: Config) => {
    served = config;
    return 0;
  };
  const unused = () => Promise.reject(new Error("It serves"));
  const tasks = { serve, backup: unused, move: unused, undoMove: unused, sweep: unused, openApi: unused };
  const stream = { write: () => undefined };
  const { root } = createProgram({ env, machine, tasks, stdout: stream, stderr: stream });
  // Without a command nothing is loaded, so all of it happens now.
  root.parse(argv, { from: "user" });
  if (served === undefined) throw new Error("no config");
  return served;
}

describe("readConfig", () => {
  test("defaults", () => {
    expect(readConfig({}, {}, machine)).toEqual({
      host: "127.0.0.1",
      port: 9999,
      publicHost: null,
      publicPort: null,
      dataPath: "/here",
      apiKey: null,
      apiKeyFile: null,
      secretKey: null,
      secretKeyFile: null,
      auth: "auto",
      trustGateway: "off",
      databaseUrl: null,
      databaseUrlFile: null,
      serverId: null,
      advertiseUrl: null,
      tlsCert: null,
      tlsKey: null,
      url: null,
      server: null,
      ca: null,
      allowHttp: "off",
      trustedProxies: [],
      allowedHosts: [],
      dockerHost: { socketPath: "/var/run/docker.sock" },
      dockerTlsVerify: null,
      dockerCertPath: null,
      contextName: "serverless_context",
      contextPath: "/tmp/context",
      osEnv: null,
      maxInstances: 12,
      memoryBudget: 3072 * MIB,
      startsAtOnce: 4,
      warmMax: 1000,
      queueLimit: 1000,
      functionQueueLimit: 100,
      bodyMemory: 1024 * MIB,
      queueBytes: 2 * 1024 * MIB,
      maxRequestBytes: 6 * MIB,
      maxResponseBytes: 6 * MIB,
      logBytes: 64 * 1024,
      keepAliveMs: 75_000,
      stallTimeoutMs: 60_000,
      drainDelayMs: 0,
      drainMs: 30_000,
      engineTimeoutMs: 30_000,
      buildBytes: 512 * MIB,
      buildTimeoutMs: 900_000,
      buildsAtOnce: 2,
      pullTimeoutMs: 600_000,
      minScheduleIntervalMs: 10_000,
      callbackTimeoutMs: 15_000,
      callbackRetryFor: 24 * 3_600_000,
      callbackAllow: { names: new Set(), ranges: [] },
      retentionDays: 7,
      retentionCount: 100_000,
      auditDays: 90,
      keepVersions: 5,
      logLevel: "info",
      logFormat: "auto",
      otelExporterOtlpEndpoint: null,
      otelExporterOtlpTracesEndpoint: null,
      otelExporterOtlpHeaders: {},
      otelServiceName: null,
      otelResourceAttributes: {},
      otelTracesSampler: "parentbased_always_on",
      otelTracesSamplerArg: 1,
    });
  });

  test("OS_ENV=docker changes the defaults of host and data path, but not given values", () => {
    expect(config([], { OS_ENV: "docker" })).toMatchObject({ host: "0.0.0.0", dataPath: "/data" });
    expect(config(["--os-env=docker"])).toMatchObject({ host: "0.0.0.0", dataPath: "/data" });
    expect(config([], { OS_ENV: "docker", HOST: "127.0.0.1", DATA_PATH: "d" })).toMatchObject({
      host: "127.0.0.1",
      dataPath: "/here/d",
    });
    expect(config([], { OS_ENV: "local" })).toMatchObject({ host: "127.0.0.1", dataPath: "/here" });
  });

  test("TRUST_GATEWAY=on is refused outside of a container, where the gateway is the network's router (A3)", () => {
    expect(config([], { OS_ENV: "docker", TRUST_GATEWAY: "on" }).trustGateway).toBe("on");
    expect(config([], { OS_ENV: "docker" }).trustGateway).toBe("off");
    for (const env of [{}, { OS_ENV: "local" }, { HOST: "0.0.0.0", AUTH: "off" }]) {
      expect(() => config([], { ...env, TRUST_GATEWAY: "on" })).toThrow(
        new ConfigError(
          "TRUST_GATEWAY=on is for a server in a container (OS_ENV=docker): elsewhere the gateway is the network's router. " +
            "Leave it out.",
        ),
      );
    }
  });

  test.each(["localhost", "10.0.0.0/33", "10.0.0.0/", "1.2.3", "::/129", "10.0.0.1:80", "fe80::1%eth0"])(
    "TRUSTED_PROXIES %s is refused",
    (value) => {
      expect(() => config([], { TRUSTED_PROXIES: `127.0.0.1,${value}` })).toThrow(
        "give a list of IP addresses and ranges such as 10.0.0.0/8, separated by commas",
      );
    },
  );

  test("the default of max-instances depends on the memory, and is at least 1", () => {
    expect(readConfig({}, {}, { ...machine, memory_bytes: 100 * MIB }).maxInstances).toBe(1);
    expect(readConfig({}, {}, { ...machine, memory_bytes: 1024 * MIB }).maxInstances).toBe(3);
    expect(readConfig({}, {}, { ...machine, memory_bytes: 1024 ** 5 }).maxInstances).toBe(10_000);
  });

  test("a flag takes precedence over the environment, and that over the default; an empty variable counts as unset", () => {
    expect(config(["--port", "1"], { PORT: "2" }).port).toBe(1);
    expect(config([], { PORT: "2" }).port).toBe(2);
    expect(config([], { PORT: "" }).port).toBe(9999);
    expect(config(["--port=1", "--port=3"]).port).toBe(3);
  });

  test("the public listener has a port, and by default the address of the other", () => {
    expect(config(["--public-port=0"])).toMatchObject({ publicHost: null, publicPort: 0 });
    expect(config([], { PUBLIC_HOST: "[::1]", PUBLIC_PORT: "80" })).toMatchObject({
      publicHost: "::1",
      publicPort: 80,
    });
    expect(() => config([], { PUBLIC_HOST: "0.0.0.0" })).toThrow(
      new ConfigError(
        "PUBLIC_HOST is given without PUBLIC_PORT (or their flags): give the port of the public listener",
      ),
    );
  });

  test.each([
    ["API_KEY", "k"],
    ["SECRET_KEY", SECRET_KEY.toString("hex")],
    ["DATABASE_URL", "postgres://a/b"],
  ])("%s and a file with it are refused together", (variable, key) => {
    expect(() => config([], { [variable]: key, [`${variable}_FILE`]: "/f" })).toThrow(
      `Both ${variable} and ${variable}_FILE are given (or their flags): leave one of them out`,
    );
  });

  test("a database that is shared asks for the key of the secrets, and its URL is in no message", () => {
    const key = { SECRET_KEY: SECRET_KEY.toString("hex") };
    expect(() => config([], { DATABASE_URL: "postgres://a/b" })).toThrow(/^DATABASE_URL is given without SECRET_KEY/);
    expect(() => config([], { DATABASE_URL_FILE: "/f" })).toThrow(/^DATABASE_URL is given without SECRET_KEY/);
    expect(config([], { ...key, DATABASE_URL: "postgresql://u:p@a/b", SERVER_ID: "node-1" })).toMatchObject({
      databaseUrl: "postgresql://u:p@a/b",
      serverId: "node-1",
    });
    for (const url of ["mysql://u:hidden@a/b", "hidden", "postgres://u:hidden%@a/b", "postgres://a/b?sslmode=full"]) {
      expect(() => config([], { ...key, DATABASE_URL: url })).toThrow(
        "Invalid DATABASE_URL (not shown): give a URL such as postgres://USER:PASSWORD@HOST/NAME?sslmode=verify-full, with %25 for a % in the password, and %40 for an @",
      );
    }
    expect(() => config([], { SERVER_ID: "a b" })).toThrow(/letters, digits/);
  });

  test("the address for other servers is one that they can reach, and needs a database that they share", () => {
    const shared = { SECRET_KEY: SECRET_KEY.toString("hex"), DATABASE_URL: "postgres://a/b" };
    expect(config([], { ...shared, ADVERTISE_URL: "http://10.0.0.5:9999/" })).toMatchObject({
      advertiseUrl: "http://10.0.0.5:9999",
    });
    for (const address of ["http://0.0.0.0:9999", "http://[::]:9999", "http://10.0.0.5:0"]) {
      expect(() => config([], { ...shared, ADVERTISE_URL: address })).toThrow(
        `Invalid ADVERTISE_URL "${address}": give the address at which other machines reach this one, which is not 0.0.0.0 or [::], and has a port other than 0`,
      );
    }
    expect(() => config([], { ...shared, ADVERTISE_URL: "10.0.0.5:9999" })).toThrow(/give a URL such as/);
    expect(() => config([], { ADVERTISE_URL: "http://10.0.0.5:9999" })).toThrow(
      "ADVERTISE_URL is given without DATABASE_URL (or their flags): only servers that share a database pass calls on. Leave it out, or give the database",
    );
  });

  test.each<[variable: string, value: string, expected: Partial<Config>]>([
    ["HOST", "0.0.0.0", { host: "0.0.0.0" }],
    ["HOST", "[::]", { host: "::" }],
    ["HOST", "LocalHost", { host: "localhost" }],
    ["PORT", "0", { port: 0 }],
    ["PORT", "65535", { port: 65_535 }],
    ["DATA_PATH", "/var/lib/slipway/", { dataPath: "/var/lib/slipway" }],
    ["DATA_PATH", "../data", { dataPath: "/data" }],
    ["API_KEY", "s3cret!~", { apiKey: "s3cret!~" }],
    ["API_KEY_FILE", "/run/secrets/key", { apiKeyFile: "/run/secrets/key" }],
    ["SECRET_KEY", SECRET_KEY.toString("base64"), { secretKey: SECRET_KEY }],
    ["SECRET_KEY_FILE", "/run/secrets/key", { secretKeyFile: "/run/secrets/key" }],
    ["AUTH", "off", { auth: "off" }],
    [
      "ALLOWED_HOSTS",
      "a.example, B.example,[::1],,10.0.0.1",
      { allowedHosts: ["a.example", "b.example", "::1", "10.0.0.1"] },
    ],
    [
      "CALLBACK_ALLOW",
      "Hooks.internal, 10.0.0.0/8,,[::1]",
      {
        callbackAllow: {
          names: new Set(["hooks.internal"]),
          ranges: [
            { bytes: Uint8Array.of(10, 0, 0, 0), bits: 8 },
            { bytes: Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 1 : 0)), bits: 128 },
          ],
        },
      },
    ],
    ["DOCKER_HOST", "unix:///run/user/1000/docker.sock", { dockerHost: { socketPath: "/run/user/1000/docker.sock" } }],
    ["DOCKER_HOST", "tcp://docker:2376", { dockerHost: { host: "docker", port: 2376 } }],
    ["DOCKER_HOST", "tcp://[::1]:2375/", { dockerHost: { host: "::1", port: 2375 } }],
    ["DOCKER_HOST", "tcp://10.0.0.1", { dockerHost: { host: "10.0.0.1" } }],
    ["CONTEXT_NAME", "my-volume_1.x", { contextName: "my-volume_1.x" }],
    ["CONTEXT_PATH", "/var/task/", { contextPath: "/var/task" }],
    ["CONTEXT_PATH", "/...", { contextPath: "/..." }],
    ["MAX_INSTANCES", "1", { maxInstances: 1 }],
    ["QUEUE_LIMIT", "0", { queueLimit: 0 }],
    ["MAX_REQUEST_BYTES", "1048576", { maxRequestBytes: MIB }],
    ["MAX_REQUEST_BYTES", "64MiB", { maxRequestBytes: 64 * MIB }],
    ["MAX_RESPONSE_BYTES", "100 KiB", { maxResponseBytes: 102_400 }],
    ["LOG_BYTES", "0", { logBytes: 0 }],
    ["DRAIN_MS", "1500", { drainMs: 1500 }],
    ["DRAIN_MS", "0", { drainMs: 0 }],
    ["DRAIN_DELAY_MS", "5s", { drainDelayMs: 5_000 }],
    ["ENGINE_TIMEOUT_MS", "500ms", { engineTimeoutMs: 500 }],
    ["PULL_TIMEOUT_MS", "1h", { pullTimeoutMs: 3_600_000 }],
    ["RETENTION_DAYS", "0", { retentionDays: 0 }],
    ["RETENTION_COUNT", "5", { retentionCount: 5 }],
    ["LOG_LEVEL", "debug", { logLevel: "debug" }],
    ["LOG_FORMAT", "text", { logFormat: "text" }],
  ])("%s %j is read, as a variable and as a flag", (variable, value, expected) => {
    const flag = `--${variable.toLowerCase().replaceAll("_", "-")}`;
    expect(config([], { [variable]: value })).toMatchObject(expected);
    expect(config([`${flag}=${value}`])).toEqual(config([], { [variable]: value }));
  });

  test.each<[variable: string, value: string, allowed: string]>([
    ["HOST", "1.2.3.4:80", "a host name or an IP address, without a port"],
    ["HOST", "a b", "a host name or an IP address"],
    ["PORT", "abc", "a whole number from 0 to 65535"],
    ["PORT", "65536", "a whole number from 0 to 65535"],
    ["PORT", "-1", "a whole number from 0 to 65535"],
    ["PORT", "1e3", "a whole number from 0 to 65535"],
    ["PORT", "80.5", "a whole number from 0 to 65535"],
    ["DATA_PATH", " ", "a text that is not empty"],
    ["AUTH", "no", "one of auto, on, off"],
    ["ALLOWED_HOSTS", "a.example:9999", "without ports"],
    ["ALLOWED_HOSTS", "*", "a list of host names"],
    ["CALLBACK_ALLOW", "http://hooks.internal", "a list of host names, IP addresses and ranges such as 10.0.0.0/8"],
    ["CALLBACK_ALLOW", "10.0.0.0/33", "ranges such as 10.0.0.0/8"],
    ["DOCKER_HOST", "/var/run/docker.sock", "unix:///path/to/docker.sock or tcp://host:port"],
    ["DOCKER_HOST", "unix://relative", "unix:///path"],
    ["DOCKER_HOST", "tcp://", "tcp://host:port"],
    ["DOCKER_HOST", "tcp://host:0", "tcp://host:port"],
    ["DOCKER_HOST", "tcp://host:70000", "tcp://host:port"],
    ["DOCKER_HOST", "tcp://host:1/path", "tcp://host:port"],
    ["DOCKER_HOST", "npipe:////./pipe/docker_engine", "tcp://host:port"],
    ["DOCKER_HOST", "ssh://me@host", "ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock me@host"],
    ["CONTEXT_NAME", "x", "a volume name of 2 to 255"],
    ["CONTEXT_NAME", "/host/path", "a volume name"],
    ["CONTEXT_NAME", ".hidden", "a volume name"],
    ["CONTEXT_PATH", "/", "an absolute path"],
    ["CONTEXT_PATH", "tmp", "an absolute path"],
    ["CONTEXT_PATH", "/tmp/../etc", "an absolute path"],
    ["CONTEXT_PATH", "/tmp//x", "an absolute path"],
    ["CONTEXT_PATH", "/tmp/\n", "an absolute path"],
    ["CONTEXT_PATH", "/proc/x", "nor in /proc"],
    ["MAX_INSTANCES", "0", "a whole number from 1 to 10000"],
    ["QUEUE_LIMIT", "many", "a whole number from 0"],
    ["MAX_REQUEST_BYTES", "6MB", "a size from 1KiB to 64MiB, in bytes or with KiB, MiB or GiB"],
    ["MAX_REQUEST_BYTES", "1GiB", "a size from 1KiB to 64MiB"],
    ["MAX_RESPONSE_BYTES", "1.5MiB", "a size from"],
    ["LOG_BYTES", "constructor", "a size from 0 to 64MiB"],
    ["LOG_BYTES", "1constructor", "a size from 0 to 64MiB"],
    ["DRAIN_MS", "2h", "a time from 0 to 1h, in milliseconds or with ms, s, m or h"],
    ["ENGINE_TIMEOUT_MS", "1ms", "a time from 100ms to 1h"],
    ["PULL_TIMEOUT_MS", "5 minutes", "a time from 1s to 24h"],
    ["RETENTION_DAYS", "forever", "a whole number"],
    ["LOG_LEVEL", "INFO", "one of debug, info, warn, error"],
    ["LOG_FORMAT", "xml", "one of auto, json, text"],
  ])("%s %j is refused, with its name and the allowed values", (variable, value, allowed) => {
    const flag = `--${variable.toLowerCase().replaceAll("_", "-")}`;
    const shown = JSON.stringify(value);
    expect(() => config([], { [variable]: value })).toThrow(ConfigError);
    expect(() => config([], { [variable]: value })).toThrow(`Invalid ${variable} ${shown}: give `);
    expect(() => config([], { [variable]: value })).toThrow(allowed);
    expect(() => config([`${flag}=${value}`])).toThrow(`Invalid ${flag} ${shown}: give `);
  });

  test("a wrong key is not shown", () => {
    expect(() => config([], { SECRET_KEY: "my secret" })).toThrow(
      "Invalid SECRET_KEY (not shown): give 32 random bytes in base64 or hex, such as `openssl rand -base64 32` prints",
    );
    expect(() => config(["--api-key", "my secret"])).toThrow(
      "Invalid --api-key (not shown): give 1 to 1024 printable ASCII characters without spaces",
    );
  });
});

describe("the table of options", () => {
  test("flags and variables match the property's name, each once", () => {
    for (const [name, { flag, variable }] of Object.entries(OPTIONS)) {
      expect<string>(flag).toBe(name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
      const same = flag.toUpperCase().replaceAll("-", "_");
      // Other programs have variables such as URL.
      expect<string[]>([same, `SLIPWAY_${same}`]).toContain(variable);
      expect(
        closest(
          flag,
          Object.values(OPTIONS).map((option) => option.flag),
        ),
      ).toBe(flag);
    }
  });
});

describe("OpenTelemetry's variables", () => {
  test("are read as its specification has them", () => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example.com/otlp/",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20a%3Db, x-tenant = t",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test,host.name=a%2Cb",
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: ".25",
    };
    expect(config([], env)).toMatchObject({
      otelExporterOtlpEndpoint: "https://collector.example.com/otlp/",
      otelExporterOtlpHeaders: { authorization: "Bearer a=b", "x-tenant": "t" },
      otelResourceAttributes: { "deployment.environment.name": "test", "host.name": "a,b" },
      otelTracesSampler: "parentbased_traceidratio",
      otelTracesSamplerArg: 0.25,
    });
  });

  test.each([
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:password@127.0.0.1:4318"],
    ["OTEL_RESOURCE_ATTRIBUTES", "a"],
    ["OTEL_RESOURCE_ATTRIBUTES", "a=%zz"],
    ["OTEL_TRACES_SAMPLER", "sometimes"],
    ["OTEL_TRACES_SAMPLER_ARG", "1.5"],
    ["OTEL_TRACES_SAMPLER_ARG", "-1"],
  ])("%s=%s is refused", (name, value) => expect(() => config([], { [name]: value })).toThrow(`Invalid ${name}`));

  test("a wrong value of the headers is not shown", () => {
    expect(() => config([], { OTEL_EXPORTER_OTLP_HEADERS: "secret" })).toThrow(
      "Invalid OTEL_EXPORTER_OTLP_HEADERS (not shown): give names with values",
    );
  });
});

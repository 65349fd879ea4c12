import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  CONTRACT_DEFAULTS,
  contractOf,
  contractProblem,
  CONTRACTS,
  type ContractSettings,
  idleOf,
  ownedBy,
} from "../../../lib/domain/functions/contract.ts";
import { checkSettings, settingsAfterChange, settingsAtCreation } from "../../../lib/domain/functions/rules.ts";
import { SETTING_DEFAULTS, type Settings } from "../../../lib/domain/functions/settings.ts";
import { settingsOfLabels } from "../../../lib/domain/images/labels.ts";
import { needsNoNewContainer } from "../../../lib/runner/pool/compatibility.ts";
import { functionOf } from "../../runner/pool/fake-instances.ts";

const STDIO = { contract: "stdio", content_type: "text/plain", output: "cgi", stream: true } as const;
const HTTP = {
  contract: "http",
  port: 3000,
  ready_path: "/healthz?deep=1",
  boot_timeout_ms: 5_000,
  concurrency: 8,
  idle_timeout_ms: 10_000,
  idle: "run",
  buffer_request: true,
  max_calls: 0,
} as const;
const LAMBDA = {
  contract: "lambda",
  boot_timeout_ms: 5_000,
  idle_timeout_ms: 10_000,
  idle: "run",
  max_calls: 0,
} as const;
/** The defaults of a server besides those of its contract. */
const SERVER = { network: "isolated", warm_max: 3, isolation: "container", max_calls: 1, port: 8080 } as const;

function problemOf(settings: Partial<ContractSettings>): string | undefined {
  return contractProblem({ ...CONTRACT_DEFAULTS, max_calls: 0, ...settings });
}

function messageOf(settings: Partial<Settings>): string | undefined {
  try {
    checkSettings(settingsAtCreation(settings, {}));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("the contract of a function", () => {
  test("is `files` unless the request or the image says otherwise", () => {
    expect(settingsAtCreation({}, {})).toMatchObject(CONTRACT_DEFAULTS);
    expect(settingsAtCreation({}, STDIO)).toMatchObject(STDIO);
    expect(settingsAtCreation({}, HTTP)).toMatchObject(HTTP);
    expect(settingsAtCreation(STDIO, { contract: "files" })).toMatchObject(STDIO);
  });

  test("`lambda` is started before its calls, as a server is, and listens on no port", () => {
    const { port: _port, ...surroundings } = SERVER;
    const made = settingsAtCreation(LAMBDA, {});
    expect(made).toMatchObject({ ...surroundings, ...LAMBDA, port: null });
    expect(settingsAtCreation({}, LAMBDA)).toMatchObject(LAMBDA);
    // The settings of both stay, and the port goes.
    const server = { ...SETTING_DEFAULTS, ...settingsAtCreation({ ...HTTP, concurrency: 1 }, {}) };
    const after = { ...server, ...settingsAfterChange(server, { contract: "lambda" }) };
    expect(after).toMatchObject({ boot_timeout_ms: 5_000, idle: "run", max_calls: 0, port: null, ready_path: null });
    expect(messageOf({ contract: "lambda", isolation: "cell" })).toContain("a program in a container of its own");
    expect(messageOf({ contract: "lambda", share_network: true })).toContain("find their calls at the same port");
    expect(messageOf({ contract: "lambda", timeout_ms: 900_001 })).toContain("may run for 900000 ms");
  });

  test("takes what belongs to it alone with it when it changes", () => {
    expect(settingsAtCreation({ contract: "files" }, STDIO)).toMatchObject(CONTRACT_DEFAULTS);
    expect(settingsAtCreation({ contract: "stdio" }, HTTP)).toMatchObject({ ...CONTRACT_DEFAULTS, contract: "stdio" });
    expect(settingsAfterChange({ ...SETTING_DEFAULTS, ...STDIO }, { contract: "files" })).toEqual(CONTRACT_DEFAULTS);
    const stdio = { ...SETTING_DEFAULTS, ...settingsAfterChange(SETTING_DEFAULTS, { contract: "stdio" }) };
    expect(stdio).toEqual({ ...SETTING_DEFAULTS, contract: "stdio" });
    const http = { ...SETTING_DEFAULTS, ...settingsAfterChange({ ...SETTING_DEFAULTS, ...STDIO }, HTTP) };
    expect(http).toMatchObject({ ...HTTP, content_type: null, output: "raw" });
    const back = { ...http, ...settingsAfterChange(http, STDIO) };
    // A network of its own is better for any function: it stays.
    expect(back).toEqual({ ...SETTING_DEFAULTS, ...STDIO, network: "isolated" });
  });

  test("in labels is one of those that there are", () => {
    const stdio = {
      "slipway.contract": "stdio",
      "slipway.content_type": "text/csv",
      "slipway.output": "cgi",
      "slipway.stream": "true",
    };
    expect(settingsOfLabels("i", stdio)).toEqual({ ...STDIO, content_type: "text/csv" });
    const http = Object.fromEntries(Object.entries(HTTP).map(([name, value]) => [`slipway.${name}`, String(value)]));
    expect(settingsOfLabels("i", http)).toEqual(HTTP);
    expect(() => settingsOfLabels("i", { "slipway.contract": "ftp" })).toThrow('must be "files", "stdio", "http" or');
    expect(() => settingsOfLabels("i", { "slipway.port": "0" })).toThrow("must be a whole number from 1 to 65535");
  });

  test("needs containers of its own, but not what is done with the output or with time", () => {
    const fn = functionOf("f");
    const http = { ...fn, ...HTTP };
    expect(needsNoNewContainer(fn, { ...fn, contract: "stdio" })).toBe(false);
    expect(needsNoNewContainer({ ...fn, ...STDIO }, { ...fn, contract: "stdio" })).toBe(true);
    expect(
      needsNoNewContainer(http, { ...http, boot_timeout_ms: 1_000, idle_timeout_ms: null, timeout_ms: 1_000 }),
    ).toBe(true);
    for (const other of [{ port: 1 }, { extra_ports: [1] }, { ready_path: null }, { concurrency: 1 }, { idle: null }]) {
      expect(needsNoNewContainer(http, { ...http, ...other })).toBe(false);
    }
  });
});

describe("a server", () => {
  test("has a port, its own network, few instances that wait, and a container for each call by default", () => {
    expect(settingsAtCreation({ contract: "http" }, {})).toEqual({ ...SETTING_DEFAULTS, contract: "http", ...SERVER });
    expect(settingsAtCreation({ contract: "http", port: null }, { port: 81 })).toMatchObject({ port: 81 });
    expect(settingsAtCreation({ contract: "http", sandbox: "strict" }, {})).toMatchObject({ network: "none" });
    const given = { network: "bridge", warm_max: 10, port: 1, max_calls: 7 };
    expect(settingsAtCreation({ contract: "http", ...given }, {})).toMatchObject({ ...given, isolation: "container" });
    expect(settingsAtCreation({ contract: "http", warm_min: 5 }, {})).toMatchObject({ warm_min: 5, warm_max: 5 });
  });

  test("becomes of another function what a new one is, and the other way round", () => {
    const reused = { ...SETTING_DEFAULTS, ...settingsAfterChange(SETTING_DEFAULTS, { max_calls: 0 }) };
    expect(reused).toMatchObject({ isolation: "process" });
    const http = { ...reused, ...settingsAfterChange(reused, { contract: "http" }) };
    expect(http).toEqual({ ...SETTING_DEFAULTS, contract: "http", ...SERVER });
    const shared = { ...http, ...settingsAfterChange(http, { max_calls: 0, concurrency: 32, port: 80 }) };
    expect(shared).toMatchObject({ isolation: "container", max_calls: 0, concurrency: 32, port: 80 });
    expect(settingsAfterChange(shared, { port: null })).toEqual({ port: 8080 });
    const files = { ...shared, ...settingsAfterChange(shared, { contract: "files" }) };
    expect(files).toEqual({ ...SETTING_DEFAULTS, network: "isolated" });
  });

  test.each<readonly [Partial<Settings>, string]>([
    [
      { isolation: "cell" },
      '"isolation" is "cell", and a function of the contract "http" is a server in a container of its own',
    ],
    [{ isolation: "process" }, '"isolation" is "process"'],
    [
      { share_network: true },
      '"share_network" is true, and instances of the contract "http" all listen on the same port',
    ],
    [{ concurrency: 2 }, '"concurrency" is 2, and "max_calls" is 1, so that an instance serves a single call'],
    [{ content_type: "text/plain" }, '"content_type" belongs to the contract "stdio", and the contract is "http"'],
    [{ output: "cgi" }, '"output" belongs to the contract "stdio"'],
    [{ ready_path: "healthz" }, 'Invalid "ready_path" "healthz": give a path that begins with "/"'],
  ])("cannot have %j", (settings, message) => {
    expect(messageOf({ contract: "http", ...settings })).toStartWith(message);
  });

  test("alone may run for a day", () => {
    const timeout_ms = 86_400_000;
    expect(messageOf({ contract: "http", timeout_ms })).toBeUndefined();
    expect(messageOf({ timeout_ms: 900_000 })).toBeUndefined();
    expect(messageOf({ timeout_ms: 900_001 })).toStartWith(
      '"timeout_ms" is 900001, and a function of the contract "files" may run for 900000 ms at most: lower it',
    );
  });

  test("is frozen between calls if it serves one, unless it says otherwise", () => {
    expect(idleOf({ idle: null, max_calls: 1 })).toBe("freeze");
    expect(idleOf({ idle: null, max_calls: 0 })).toBe("run");
    expect(idleOf({ idle: "run", max_calls: 1 })).toBe("run");
  });
});

describe("contractProblem", () => {
  test.each(["text/plain", "text/html; charset=utf-8", "image/svg+xml", 'multipart/mixed; boundary="a b"', "a/b;c"])(
    "takes the media type %s",
    (content_type) => {
      expect(problemOf({ ...STDIO, content_type })).toBeUndefined();
    },
  );

  test.each([
    "text",
    "text/",
    "/plain",
    "text/plain charset",
    "a b/c",
    "text/plain\r\nx: y",
    "text/plain;\0",
    "text/plain; é",
  ])("refuses the media type %p", (content_type) => {
    expect(problemOf({ ...STDIO, content_type })).toStartWith('Invalid "content_type"');
  });

  test("never lets a content type through that no header can have", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (content_type) => {
        if (problemOf({ ...STDIO, content_type }) !== undefined) return;
        expect(() => new Headers({ "content-type": content_type })).not.toThrow();
      }),
    );
  });

  test("never lets a path through that would be more or less than the target of a request", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.webPath()), (text) => {
        const ready_path = `/${text}`;
        if (problemOf({ contract: "http", ready_path }) !== undefined) return;
        expect(ready_path).toMatch(/^\/[\u0021-\u007e]*$/);
        expect(ready_path).not.toContain("#");
      }),
    );
  });

  test("refuses what belongs to another contract", () => {
    const others = [STDIO, { ...HTTP, max_calls: undefined }, { ...LAMBDA, max_calls: undefined }];
    const ownersOf = (name: string) => others.filter((one) => name in one).map((one) => one.contract);
    for (const settings of others) {
      const owned = Object.entries(settings).filter(([name, value]) => name !== "contract" && value !== undefined);
      expect(owned.length).toBeGreaterThan(1);
      for (const [name, value] of owned) {
        const owners = ownersOf(name);
        const all = owners.map((owner) => `"${owner}"`).join(" or ");
        for (const contract of CONTRACTS) {
          expect(problemOf({ contract, [name]: value })).toBe(
            owners.some((owner) => owner === contract)
              ? undefined
              : `"${name}" belongs to the contract ${all}, and the contract is "${contract}": leave it out, or give the contract ${all}`,
          );
        }
      }
    }
  });
});

test("contractOf and ownedBy know whose settings are whose", () => {
  expect(contractOf({})).toBeUndefined();
  expect(contractOf({ contract: "files", port: null, idle: null })).toBeUndefined();
  expect(contractOf({ output: "cgi" })).toBe("stdio");
  expect(contractOf({ buffer_request: true })).toBe("http");
  expect(ownedBy("http", { ...STDIO, port: 5, idle: null })).toEqual({ port: 5, idle: null });
  expect(ownedBy("files", { ...STDIO, port: 5 })).toEqual({});
});

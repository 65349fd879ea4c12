import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseConnection } from "../../lib/cli/api/connection.ts";
import { readSavedServers, savedServersFile, writeSavedServers } from "../../lib/cli/api/saved-servers.ts";
import { type Flags, readConfig, type Variables } from "../../lib/config/config.ts";
import { MACHINE } from "./support/fake-program.ts";

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "slipway-home-"));
  const one = { name: "one", url: "https://one.example.com", key: "key-one", ca: null };
  const two = { name: "two", url: "https://two.example.com", key: "key-two", ca: "/ca.pem" };
  writeSavedServers({ HOME: home }, { current: "one", servers: [one, two] });
});

afterEach(() => rm(home, { recursive: true, force: true }));

function choose(flags: Flags = {}, variables: Variables = {}) {
  const env = { HOME: home, ...variables };
  const { url, key, ca } = chooseConnection(readConfig(flags, env, MACHINE), flags, env);
  return { url, key, ca };
}

describe("a command calls", () => {
  test("the server of the last login, with its key", () => {
    expect(choose()).toEqual({ url: "https://one.example.com", key: "key-one", ca: null });
  });

  test("the server that --server or SLIPWAY_SERVER names, whatever else is in the environment", () => {
    const two = { url: "https://two.example.com", key: "key-two", ca: "/ca.pem" };
    expect(choose({ server: "two" })).toEqual(two);
    expect(choose({}, { SLIPWAY_SERVER: "two", PORT: "1" })).toEqual(two);
    expect(() => choose({ server: "tow" })).toThrow('No saved server "tow": did you mean "two"?');
  });

  test("the server that --url or --port describes, with a saved key only if it is that server's", () => {
    expect(choose({ url: "https://two.example.com" })).toMatchObject({ key: "key-two", ca: "/ca.pem" });
    expect(choose({ url: "http://two.example.com" })).toEqual({ url: "http://two.example.com", key: null, ca: null });
    expect(choose({}, { SLIPWAY_URL: "https://two.example.com:444" })).toMatchObject({ key: null });
    expect(choose({ port: "1" })).toEqual({ url: "http://127.0.0.1:1", key: null, ca: null });
    expect(choose({}, { HOST: "::" })).toEqual({ url: "http://[::1]:9999", key: null, ca: null });
  });

  test("with the key of API_KEY, if there is one", () => {
    expect(choose({}, { API_KEY: "mine" })).toMatchObject({ url: "https://one.example.com", key: "mine" });
    expect(choose({ url: "https://two.example.com", "api-key": "mine" })).toMatchObject({ key: "mine" });
  });

  test("the default server on this machine without a login", () => {
    expect(choose({}, { HOME: "/nowhere" })).toEqual({ url: "http://127.0.0.1:9999", key: null, ca: null });
  });
});

test("saved servers are in XDG_CONFIG_HOME if it is set", () => {
  expect(savedServersFile({ HOME: "/h" })).toBe("/h/.config/slipway/servers.json");
  expect(savedServersFile({ HOME: "/h", XDG_CONFIG_HOME: "/c" })).toBe("/c/slipway/servers.json");
  expect(readSavedServers({ HOME: "/nowhere" })).toEqual({ current: null, servers: [] });
});

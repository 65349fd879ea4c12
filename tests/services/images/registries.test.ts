import { beforeEach, describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { REGISTRIES } from "../../../lib/domain/limits.ts";
import type { RegistryCredentials } from "../../../lib/domain/images/registries.ts";
import { RegistryService } from "../../../lib/services/images/registries.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { listeningLog, newStore, rejectionOf, stillClock, thrownBy } from "../../store/sqlite/support/stores.ts";

const BODY = { username: "someone", password: "open sesame" } as const;
const UNCHECKED = { check: false } as const;

let store: SqliteStore;
let asked: RegistryCredentials[];
let answer: (credentials: RegistryCredentials) => Promise<void>;
let events: Record<string, unknown>[];
let registries: RegistryService;

beforeEach(() => {
  store = newStore();
  registries = serviceWith(Vault.forgetful());
});

function serviceWith(vault: Vault): RegistryService {
  const listening = listeningLog();
  events = listening.events;
  asked = [];
  answer = () => Promise.resolve();
  return new RegistryService({
    store: store.registries,
    vault,
    clock: stillClock(),
    log: listening.log,
    runner: {
      checkCredentials: (credentials) => {
        asked.push(credentials);
        return answer(credentials);
      },
    },
  });
}

describe("RegistryService.put", () => {
  test("stores credentials that the registry accepts, sealed, under the host that images name", async () => {
    const { registry, created } = await registries.put("https://index.docker.io/v1/", BODY, { check: true });
    expect([registry.host, created]).toEqual(["docker.io", true]);
    expect(asked).toEqual([{ host: "docker.io", username: "someone", kind: "password", secret: "open sesame" }]);
    expect(JSON.stringify(store.registries.get("docker.io"))).not.toMatch(/sesame/);
    expect(registries.credentialsFor("docker.io")).toMatchObject({ username: "someone", secret: "open sesame" });
    expect((await registries.put("docker.io", BODY, UNCHECKED)).created).toBe(false);
    expect(registries.get("registry-1.docker.io").checked_at).toBeNull();
  });

  test("gives new credentials a new revision, even if they are the same ones sealed again", async () => {
    await registries.put("ghcr.io", BODY, UNCHECKED);
    const before = registries.credentialsFor("ghcr.io")?.revision;
    await registries.put("ghcr.io", BODY, UNCHECKED);
    expect(registries.credentialsFor("ghcr.io")?.revision).not.toBe(before);
  });

  test("stores nothing if the registry refuses", async () => {
    const refusal = new AppError("registry_denied", "no");
    answer = () => Promise.reject(refusal);
    expect(await rejectionOf(registries.put("ghcr.io", BODY, { check: true }))).toBe(refusal);
    expect(registries.list()).toEqual([]);
  });

  test("stores nothing if the engine is away, and suggests check=false", async () => {
    answer = () => Promise.reject(new AppError("engine_unavailable", "Gone.", { retry_after_s: 2 }));
    expect(await rejectionOf(registries.put("ghcr.io", BODY, { check: true }))).toMatchObject({
      reason: "engine_unavailable",
      retry_after_s: 2,
      message:
        'Cannot ask the registry "ghcr.io", and nothing was stored. Gone. ?check=false stores the credentials all the same.',
    });
    expect(registries.list()).toEqual([]);
  });

  test(`stores the credentials of at most ${REGISTRIES} registries, and can still replace them then`, async () => {
    const auths = (from: number) =>
      Object.fromEntries(
        Array.from({ length: 100 }, (_, index) => [`r${from + index}.example`, { username: "u", password: "p" }]),
      );
    for (let from = 0; from < REGISTRIES; from += 100) await registries.import({ auths: auths(from) }, UNCHECKED);
    expect(registries.list()).toHaveLength(REGISTRIES);
    const message = `There are credentials for ${REGISTRIES} registries already: delete some`;
    expect(await rejectionOf(registries.put("one.more", BODY, UNCHECKED))).toEqual(new AppError("conflict", message));
    expect((await registries.put("r7.example", BODY, UNCHECKED)).created).toBe(false);
    // All of an import or nothing.
    const both = { auths: { "r8.example": BODY, "one.more": BODY } };
    expect(await rejectionOf(registries.import(both, UNCHECKED))).toEqual(new AppError("conflict", message));
    expect(registries.get("r8.example").username).toBe("u");
  });
});

describe("RegistryService.credentialsFor", () => {
  test("is undefined for a registry without credentials", () => {
    expect(registries.credentialsFor("ghcr.io")).toBeUndefined();
  });

  test("throws secret_unavailable if they cannot be opened", async () => {
    await registries.put("ghcr.io", BODY, UNCHECKED);
    registries = serviceWith(Vault.forgetful());
    expect(thrownBy(() => registries.credentialsFor("ghcr.io"))).toMatchObject({
      reason: "secret_unavailable",
      message:
        'The credentials of the registry "ghcr.io" cannot be read: PUT /v1/registries/ghcr.io anew, or delete them',
    });
    expect(events).toEqual([expect.objectContaining({ event: "the credentials of a registry cannot be opened" })]);
  });

  test("does not open a row of another registry", async () => {
    await registries.put("ghcr.io", BODY, UNCHECKED);
    const row = store.registries.get("ghcr.io");
    if (row === undefined) throw new Error("It is not there");
    await store.registries.put([{ ...row, host: "evil.example" }]);
    expect(thrownBy(() => registries.credentialsFor("evil.example"))).toMatchObject({ reason: "secret_unavailable" });
  });
});

describe("RegistryService.import", () => {
  const auths = { "a.example": BODY, "b.example": BODY, "c.example": {} };

  test("stores accepted credentials, and says why it skipped the others", async () => {
    answer = ({ host }) =>
      host === "b.example" ? Promise.reject(new AppError("registry_denied", "no")) : Promise.resolve();
    const { imported, skipped } = await registries.import({ auths }, { check: true });
    expect(imported.map(({ host }) => host)).toEqual(["a.example"]);
    expect(skipped).toEqual([
      { entry: "c.example", problem: "it has no credentials; PUT /v1/registries/c.example instead" },
      { entry: "b.example", problem: "no" },
    ]);
    expect(registries.list().map(({ host }) => host)).toEqual(["a.example"]);
  });

  test("asks no registry with check=false", async () => {
    expect((await registries.import({ auths }, UNCHECKED)).imported).toHaveLength(2);
    expect(asked).toEqual([]);
  });

  test("stores nothing if the engine is away", async () => {
    answer = () => Promise.reject(new AppError("engine_unavailable", "Gone."));
    expect(await rejectionOf(registries.import({ auths }, { check: true }))).toMatchObject({
      reason: "engine_unavailable",
    });
    expect(registries.list()).toEqual([]);
  });

  test("asks a few registries at a time", async () => {
    let running = 0;
    let most = 0;
    answer = async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running -= 1;
    };
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`r${index}.example`, BODY]));
    expect((await registries.import({ auths: many }, { check: true })).imported).toHaveLength(100);
    expect(asked).toHaveLength(100);
    expect(most).toBe(8);
  });
});

describe("RegistryService.delete", () => {
  test("deletes once, under any name of the registry", async () => {
    await registries.put("docker.io", BODY, UNCHECKED);
    expect((await registries.delete("index.docker.io")).host).toBe("docker.io");
    expect(await rejectionOf(registries.delete("docker.io"))).toMatchObject({ reason: "not_found" });
    expect(registries.credentialsFor("docker.io")).toBeUndefined();
  });
});

import { beforeEach, describe, expect, test } from "bun:test";
import { EngineError } from "../../../lib/docker/api/connection.ts";
import type { Image } from "../../../lib/docker/api/images.ts";
import { ImageOrigins } from "../../../lib/docker/images/image-origins.ts";
import type { RegistryCredentials } from "../../../lib/domain/images/registries.ts";
import { createLogger } from "../../../lib/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";

// The answers of a real registry are in tests/e2e/faults/images.test.ts.

const HASH = `sha256:${"ab".repeat(32)}`;
const DIGEST = `r.example/team/app@${HASH}`;

const CREDENTIALS: RegistryCredentials = {
  host: "r.example",
  username: "someone",
  kind: "password",
  secret: "open sesame",
};

let clock: FakeClock;
let asked: (readonly [digest: string, username: string | null | undefined])[];
let answer: () => boolean;
let pulled: Record<string, readonly string[]>;
/** As in the containerd image store: a digest proves nothing. */
let provePulls: boolean;

beforeEach(() => {
  clock = new FakeClock();
  asked = [];
  answer = () => false;
  pulled = {};
  provePulls = false;
});

function newOrigins(): ImageOrigins {
  return new ImageOrigins({
    images: {
      digestsProvePulls: () => provePulls,
      inRegistry: async (digest, credentials) => {
        asked.push([digest, credentials?.username]);
        return answer();
      },
    },
    pulledNames: (id) => pulled[id] ?? [],
    credentialsFor: (host) => (host === "r.example" ? CREDENTIALS : undefined),
    clock,
    log: createLogger({ level: "error", format: "json", clock, write: () => undefined }),
  });
}

function imageWith(...digests: readonly string[]): Image {
  const config = {
    entrypoint: [],
    command: ["x"],
    user: "",
    variables: {},
    exposed_ports: [],
    volumes: [],
    labels: {},
  };
  return { id: HASH, digests, config };
}

const away = () => {
  throw new EngineError("registry query", 500, "no such host");
};

describe("ImageOrigins", () => {
  test("believes the digests of the older image store, and asks nobody", async () => {
    provePulls = true;
    const origins = newOrigins();
    expect(await origins.digestOf("r.example/team/app:1", imageWith(DIGEST))).toBe(DIGEST);
    expect(await origins.isFromRegistry("r.example/team/app:1", imageWith(DIGEST), null)).toBe(true);
    expect(await origins.digestOf("app:1", imageWith())).toBeNull();
    expect(asked).toEqual([]);
  });

  test("asks the registry for the digest with its credentials, once while it says yes", async () => {
    const origins = newOrigins();
    expect(await origins.digestOf("r.example/team/app:1", imageWith(DIGEST))).toBeNull();
    answer = () => true;
    expect(await origins.digestOf("r.example/team/app:1", imageWith(DIGEST))).toBe(DIGEST);
    expect(await origins.isFromRegistry("r.example/team/app:2", imageWith(DIGEST), null)).toBe(true);
    expect(asked).toEqual([
      [DIGEST, "someone"],
      [DIGEST, "someone"],
    ]);
  });

  test("knows what this server pulled, under short names too", async () => {
    pulled[HASH] = [`docker.io/library/app@${HASH}`, "docker.io/library/app:1"];
    const origins = newOrigins();
    expect(await origins.digestOf("app:1", imageWith(`app@${HASH}`))).toBe(`app@${HASH}`);
    origins.notePulled("r.example/team/app:1", imageWith(DIGEST));
    expect(await origins.isFromRegistry("r.example/team/app:1", imageWith(DIGEST), null)).toBe(true);
    expect(asked).toEqual([]);
  });

  test("an image that was pulled and tagged again is local under its new name, and can be restored by the old one", async () => {
    for (provePulls of [true, false]) {
      pulled[HASH] = [DIGEST];
      const image = imageWith(DIGEST, ...(provePulls ? [] : [`mine@${HASH}`]));
      const origins = newOrigins();
      expect(await origins.digestOf("mine:1", image)).toBe(DIGEST);
      expect(await origins.isFromRegistry("mine:1", image, null)).toBe(false);
    }
  });

  test("does not ask a silent registry again for a minute, but other registries", async () => {
    answer = away;
    const origins = newOrigins();
    expect(await origins.digestOf("r.example/team/app:1", imageWith(DIGEST))).toBeNull();
    expect(await origins.isFromRegistry("r.example/team/app:1", imageWith(DIGEST), null)).toBe(false);
    expect(asked).toHaveLength(1);
    expect(await origins.digestOf("app:1", imageWith(`app@${HASH}`))).toBeNull();
    expect(asked).toHaveLength(2);
    await clock.advance(60_000);
    answer = () => true;
    expect(await origins.digestOf("r.example/team/app:1", imageWith(DIGEST))).toBe(DIGEST);
  });

  test("says so if a registry is silent that gave the function its digest", async () => {
    answer = away;
    const origins = newOrigins();
    const error = await rejectionOf(origins.isFromRegistry("r.example/team/app:1", imageWith(DIGEST), DIGEST));
    expect(error).toMatchObject({ reason: "image_unavailable" });
    // The tag has moved here: the image that it means now never came from there.
    const moved = `r.example/team/app@sha256:${"cd".repeat(32)}`;
    expect(await origins.isFromRegistry("r.example/team/app:1", imageWith(DIGEST), moved)).toBe(false);
  });
});

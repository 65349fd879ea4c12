import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { BuildTimes } from "../../runner/platform.ts";
import { type EngineConnection, EngineError } from "../api/connection.ts";

/** The parts of `GET /system/df` that we need. Podman has no list. */
const DiskUsage = Type.Object({
  BuildCache: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Array(
        Type.Object({
          ID: Type.String({ pattern: "^[a-z0-9]+$" }),
          InUse: Type.Boolean(),
          CreatedAt: Type.String(),
          LastUsedAt: Type.Optional(Type.Union([Type.Null(), Type.String()])),
        }),
      ),
    ]),
  ),
});

/** The records of one request to the engine, which have their ids in its URL. */
const AT_ONCE = 100;
/** Records are looked at, and removed, on the engine's disk. */
const TIMEOUT_MS = 60_000;

/**
 * Removes what BuildKit has kept of builds for the next ones and has not used since a time. Records have neither a label nor
 * a session: those are taken that were made while a build ran, also one of somebody else at the same time. A build that
 * misses one runs that step again.
 */
export async function removeUnusedCache(
  connection: Pick<EngineConnection, "request">,
  builds: readonly BuildTimes[],
  unusedSince: number,
): Promise<void> {
  if (builds.length === 0) return;
  const reply = await connection.request({
    operation: "build cache list",
    method: "GET",
    path: "/system/df",
    query: { type: "build-cache" },
    timeout_ms: TIMEOUT_MS,
  });
  if (!Value.Check(DiskUsage, reply.body)) throw new EngineError("build cache list", reply.status, "unexpected reply");
  const unused = (reply.body.BuildCache ?? []).filter(({ InUse, CreatedAt, LastUsedAt }) => {
    const created = Date.parse(CreatedAt);
    if (InUse || Date.parse(LastUsedAt ?? CreatedAt) > unusedSince) return false;
    return builds.some(({ from, to }) => from <= created && created <= to);
  });
  for (let at = 0; at < unused.length; at += AT_ONCE) {
    const ids = unused.slice(at, at + AT_ONCE).map(({ ID }) => ID);
    await connection.request({
      operation: "build cache removal",
      method: "POST",
      path: "/build/prune",
      // The engine takes one pattern.
      query: { all: true, filters: JSON.stringify({ id: [`^(${ids.join("|")})$`] }) },
      timeout_ms: TIMEOUT_MS,
    });
  }
}

import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../../domain/errors.ts";
import { Nullable } from "../../domain/types.ts";
import type { EngineConnection } from "./connection.ts";

const Info = Type.Object({
  ID: Type.Optional(Type.String()),
  Architecture: Type.String(),
  NCPU: Type.Optional(Type.Number()),
  MemTotal: Type.Optional(Type.Number()),
  Runtimes: Type.Optional(Nullable(Type.Object({}, { additionalProperties: true }))),
});

/** The engine's machine, as far as the engine says. */
export interface System {
  readonly cpus: number | undefined;
  readonly memory_bytes: number | undefined;
  /** The names of its runtimes. */
  readonly runtimes: readonly string[];
}

/** Asks the engine about its machine. Throws `engine_unavailable`, or `EngineError` if it refuses. */
export async function engineSystem(connection: EngineConnection): Promise<System> {
  const { NCPU, MemTotal, Runtimes } = await info(connection);
  return { cpus: NCPU, memory_bytes: MemTotal, runtimes: Object.keys(Runtimes ?? {}) };
}

/** Returns the architecture of the engine's containers in the engine's own words (`x86_64`, `aarch64`, ...). */
export async function engineArchitecture(connection: EngineConnection): Promise<string> {
  return (await info(connection)).Architecture;
}

/** Returns the id that the engine has given itself; null if it has none. Podman makes a new one for each answer. */
export async function engineId(connection: EngineConnection): Promise<string | null> {
  const { ID = "" } = await info(connection);
  return ID !== "" && (await info(connection)).ID === ID ? ID : null;
}

async function info(connection: EngineConnection): Promise<(typeof Info)["static"]> {
  const { body } = await connection.request({ operation: "info", method: "GET", path: "/info" });
  if (Value.Check(Info, body)) return body;
  throw new AppError("engine_unavailable", "The engine does not say its architecture: is it a Docker Engine?");
}

import { AppError } from "../domain/errors.ts";
import type { EngineConnection } from "./connection.ts";

/** The architecture that the engine's containers run on, in the engine's own words (`x86_64`, `aarch64`, ...). */
export async function engineArchitecture(connection: EngineConnection): Promise<string> {
  const { body } = await connection.request({ operation: "info", method: "GET", path: "/info" });
  if (body !== null && typeof body === "object" && "Architecture" in body && typeof body.Architecture === "string") {
    return body.Architecture;
  }
  throw new AppError("engine_unavailable", "The engine does not tell its architecture: is it a Docker Engine?");
}

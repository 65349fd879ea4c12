import { AppError } from "../../domain/errors.ts";
import type { ContractName } from "../../domain/functions/contract.ts";
import type { Contract } from "./contract.ts";
import { FILES } from "./files.ts";
import { STDIO } from "./stdio.ts";

/** The contracts by their names. */
export const BY_NAME: Readonly<Record<ContractName, Contract>> = {
  files: FILES,
  stdio: STDIO,
  // Its instances are booted before their call and have no exchange with a gate.
  http: {
    exchange() {
      throw new AppError("instance_lost", "Functions of the contract \"http\" cannot be called yet");
    },
  },
};

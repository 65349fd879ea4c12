import type { BOOTED_CONTRACTS, ContractName } from "../../domain/functions/contract.ts";
import type { Contract } from "./contract.ts";
import { FILES } from "./files.ts";
import { STDIO } from "./stdio.ts";

/** The contracts whose functions start with their call, by their names. Those of the other contracts are there before it. */
export const BY_NAME: Readonly<Record<Exclude<ContractName, (typeof BOOTED_CONTRACTS)[number]>, Contract>> = {
  files: FILES,
  stdio: STDIO,
};

import type { ContractName } from "../../domain/functions/contract.ts";
import type { Contract } from "./contract.ts";
import { FILES } from "./files.ts";
import { STDIO } from "./stdio.ts";

/** The contracts whose functions start with their call, by their names. Functions of the contract `http` are there before it. */
export const BY_NAME: Readonly<Record<Exclude<ContractName, "http">, Contract>> = { files: FILES, stdio: STDIO };

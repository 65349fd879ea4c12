import { quoted } from "../quoted.ts";

/** The ways in which functions are spoken to (lib/docs/contracts.md). */
export const CONTRACTS = ["files", "stdio"] as const;
export type ContractName = (typeof CONTRACTS)[number];

/** The forms of what a function of the contract `stdio` prints: a body, or headers and a body. */
export const OUTPUTS = ["raw", "cgi"] as const;
export type Output = (typeof OUTPUTS)[number];

/** The origins of a function's contract: its own setting, its image's label, or nothing, which is `files`. */
export const CONTRACT_REASONS = ["setting", "label", "default"] as const;
export type ContractReason = (typeof CONTRACT_REASONS)[number];

/** The settings that depend on each other: the others belong to `stdio` alone. */
export interface ContractSettings {
  readonly contract: ContractName;
  readonly content_type: string | null;
  readonly output: Output;
}

export const CONTRACT_DEFAULTS: ContractSettings = { contract: "files", content_type: null, output: "raw" };

/** Returns what follows from a contract for the settings that a request leaves out: what belongs to `stdio` goes with it. */
export function contractAfter(
  contract: ContractName,
  given: Partial<ContractSettings>,
): Partial<Omit<ContractSettings, "contract">> {
  if (contract === "stdio") return {};
  const { content_type, output } = CONTRACT_DEFAULTS;
  return { ...(given.content_type === undefined && { content_type }), ...(given.output === undefined && { output }) };
}

/** Returns what has chosen the contract of a function that is described as a whole. */
export function contractReason(
  given: Partial<ContractSettings>,
  ofImage: Partial<ContractSettings> | undefined,
): ContractReason {
  if (given.contract !== undefined) return "setting";
  return ofImage?.contract === undefined ? "default" : "label";
}

const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
/** A media type with its parameters (RFC 9110, 8.3.1), in ASCII. */
const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}(?:[ \\t]*;[\\t -~]*)?$`);

/** Returns the problem with the contract of a function, or nothing. */
export function contractProblem({ contract, content_type, output }: ContractSettings): string | undefined {
  if (content_type !== null && !MEDIA_TYPE.test(content_type)) {
    return `Invalid "content_type" ${quoted(content_type)}: give a media type such as "text/plain; charset=utf-8"`;
  }
  if (contract === "stdio") return undefined;
  const own = content_type !== null ? "content_type" : output !== CONTRACT_DEFAULTS.output ? "output" : undefined;
  if (own === undefined) return undefined;
  return `"${own}" belongs to the contract "stdio", and the contract is ${quoted(contract)}: leave it out, or give the contract "stdio"`;
}

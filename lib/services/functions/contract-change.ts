import { AppError } from "../../domain/errors.ts";
import { ownedBy } from "../../domain/functions/contract.ts";
import type { ImageSignals } from "../../domain/functions/detection.ts";
import type { Function, Origins } from "../../domain/functions/functions.ts";
import { settingsAfterChange } from "../../domain/functions/rules.ts";
import type { Settings } from "../../domain/functions/settings.ts";
import type { ResolvedImage } from "../../runner/platform.ts";
import { type Choice, chooseContract, type TrialBoot } from "./contract-choice.ts";

/** A change of a function, of which its contract or its port may be a part or a consequence. */
export interface ContractChange {
  readonly given: Partial<Settings>;
  readonly environment: Function["environment"];
  /** The image as it is named now, and the one that this has led to; undefined if it stays. */
  readonly image: string;
  readonly resolved: ResolvedImage | undefined;
}

/** The settings and origins that follow from a change. */
type Consequences = Partial<Settings & Origins>;

/** Everything that follows from a change for the contract, with a warning for the answer to it. */
export interface ContractConsequences extends Pick<Choice, "warning"> {
  readonly changes: Consequences;
}

/** Returns whether a change can have consequences for the contract or the port of a function. */
export function mayChangeContract(before: Function, { given, environment, resolved }: ContractChange): boolean {
  if (given.contract !== undefined || given.port !== undefined) return true;
  if (resolved !== undefined) return before.contract === "http" || before.contract_reason !== "setting";
  const own = given.entrypoint !== undefined || given.command !== undefined || environment !== before.environment;
  return before.contract === "http" && own;
}

/**
 * Returns what follows from a change for the contract and the port. Another image is looked at anew, unless the contract was a
 * setting; a port that was no setting follows the image and the variables. Throws what `chooseContract` throws.
 */
export async function contractAfterChange(
  before: Function,
  change: ContractChange,
  { signals, trialBoot }: { readonly signals: ImageSignals | undefined; readonly trialBoot: TrialBoot | undefined },
): Promise<ContractConsequences> {
  const { given, environment, image, resolved } = change;
  const after = { ...before, ...given, image, environment, ...resolved };
  if (signals === undefined) return { changes: withoutImage(before, given) };
  const own = {
    ...given,
    entrypoint: after.entrypoint,
    command: after.command,
    ...(given.contract === undefined && before.contract_reason === "setting" && { contract: before.contract }),
    ...(given.port === undefined && before.port_reason === "setting" && { port: before.port }),
  };
  const candidate = (ofImage: Partial<Settings>): Function => {
    const changes = { contract: "http" as const, ...ownedBy("http", ofImage), ...given };
    return { ...after, ...settingsAfterChange(before, changes) };
  };
  const kept = resolved === undefined ? before : undefined;
  const { ofImage, origins, ...warned } = await chooseContract(
    { image, signals, environment, given: own, kept, with: candidate },
    trialBoot,
  );
  const contract = given.contract ?? ofImage.contract ?? before.contract;
  const changes = {
    // The settings that belong to a contract come with it from the image; the image's other labels are for registrations.
    ...(contract !== before.contract && { contract, ...ownedBy(contract, ofImage) }),
    ...(ofImage.port !== undefined && contract === "http" && { port: ofImage.port }),
    ...given,
    ...(given.port === null && ofImage.port !== undefined && { port: ofImage.port }),
    ...origins,
  };
  return { changes, ...warned };
}

/** Returns the port of a function whose image was pulled again: its contract stays. */
export async function portsAfterPull(
  { contract, port, port_reason, ...fn }: Function,
  signals: ImageSignals | undefined,
): Promise<Consequences> {
  if (contract !== "http" || signals === undefined) return {};
  const { image, environment, entrypoint, command } = fn;
  const given = { contract, entrypoint, command, ...(port_reason === "setting" && { port }) };
  try {
    const { ofImage, origins } = await chooseContract(
      { image, signals, given, environment, with: undefined },
      undefined,
    );
    const { port_reason: reason, extra_ports } = origins;
    return { ...(ofImage.port !== undefined && { port: ofImage.port }), port_reason: reason, extra_ports };
  } catch (error) {
    // The new image does not say which of its ports it is, or has labels of a time to come: the port stays.
    if (error instanceof AppError) return {};
    throw error;
  }
}

/** Returns the consequences where nothing is known of the image: what is not given stays. */
function withoutImage(before: Function, given: Partial<Settings>): Consequences {
  const contract = given.contract ?? before.contract;
  const chosen = given.contract !== undefined && { contract_reason: "setting" as const };
  if (contract !== "http") return { ...chosen, port_reason: null, extra_ports: [] };
  const port_reason =
    typeof given.port === "number" ? "setting" : given.port === null ? "default" : (before.port_reason ?? "default");
  return { ...chosen, port_reason };
}

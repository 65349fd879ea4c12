import type { Function } from "../../../domain/functions/functions.ts";
import { functionArn } from "../../../domain/lambda/names.ts";
import { functionName, LATEST, ROLE } from "../wire/function-names.ts";
import { DESCRIPTION_LABEL } from "./requests.ts";

const MIB = 1024 * 1024;
/** AWS's names of the architectures that images can have. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "arm64" };

/** Returns a function as AWS describes one (`FunctionConfiguration`). `version` is `$LATEST`, or the number of the version. */
export function configurationOf(fn: Function, version: string) {
  const { labels, environment, timeout_ms, memory_bytes } = fn;
  return {
    FunctionName: functionName(fn),
    FunctionArn: functionArn(fn) + (version === LATEST ? "" : `:${version}`),
    Role: ROLE,
    CodeSize: 0,
    Description: labels[DESCRIPTION_LABEL] ?? "",
    Timeout: Math.ceil(timeout_ms / 1_000),
    MemorySize: Math.round(memory_bytes / MIB),
    // AWS's own form of a time.
    LastModified: fn.updated_at.replace(/Z$/, "+0000"),
    CodeSha256: codeHash(fn),
    Version: version,
    Environment: { Variables: environment },
    TracingConfig: { Mode: "PassThrough" },
    RevisionId: revisionOf(fn),
    State: "Active",
    LastUpdateStatus: "Successful",
    PackageType: "Image",
    ...imageConfig(fn),
    Architectures: [ARCHITECTURES[process.arch] ?? process.arch],
    LoggingConfig: { LogFormat: "Text", LogGroup: `/aws/lambda/${functionName(fn)}` },
  };
}

/** Returns what AWS says about the code of a function. */
export function codeOf({ image, digest }: Function) {
  return { RepositoryType: "ECR", ImageUri: image, ResolvedImageUri: digest ?? image };
}

/** Returns the labels of a function that are no description, as AWS's tags. */
export function tagsOf({ labels }: Function): Record<string, string> {
  const { [DESCRIPTION_LABEL]: _description, ...tags } = labels;
  return tags;
}

/** Returns the hash of a function's image, in hex. */
export function codeHash({ digest, image_id }: Function): string {
  return /sha256:([0-9a-f]{64})$/.exec(digest ?? image_id ?? "")?.[1] ?? "";
}

/** Returns what changes with each version of a function, as a UUID. */
export function revisionOf({ id, version }: Function): string {
  const hex = new Bun.CryptoHasher("sha256").update(`${id}@${version}`).digest("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
}

function imageConfig({ entrypoint, command, working_dir }: Function) {
  if (entrypoint === null && command === null && working_dir === null) return {};
  return {
    ImageConfigResponse: {
      ImageConfig: {
        ...(entrypoint !== null && { EntryPoint: entrypoint }),
        ...(command !== null && { Command: command }),
        ...(working_dir !== null && { WorkingDirectory: working_dir }),
      },
    },
  };
}

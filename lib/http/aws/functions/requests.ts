import { type Static, type TSchema, Type } from "@sinclair/typebox";
import type { Settings } from "../../../domain/functions/settings.ts";
import { CreateFunction, UpdateFunction } from "../../../domain/functions/functions.ts";
import { bodyCheck } from "../../wire/validation-message.ts";
import { AwsError } from "../wire/errors.ts";
import { objectOf } from "../wire/qualified.ts";

const MIB = 1024 * 1024;
/** The label that has a function's `Description`; all other labels are its tags. */
export const DESCRIPTION_LABEL = "description";

const NullableText = Type.Union([Type.String(), Type.Null()]);
const Words = Type.Union([Type.Array(Type.String()), Type.Null()]);
const Texts = Type.Record(Type.String(), Type.String());

/** The meaning of AWS's fields for a function here. The limits are those of our own settings, which check them. */
const CONFIGURATION = {
  Description: Type.Optional(NullableText),
  Timeout: Type.Optional(Type.Integer()),
  MemorySize: Type.Optional(Type.Integer()),
  Environment: Type.Optional(
    Type.Union([Type.Object({ Variables: Type.Optional(Type.Union([Texts, Type.Null()])) }), Type.Null()]),
  ),
  ImageConfig: Type.Optional(
    Type.Union([
      Type.Object({
        EntryPoint: Type.Optional(Words),
        Command: Type.Optional(Words),
        WorkingDirectory: Type.Optional(NullableText),
      }),
      Type.Null(),
    ]),
  ),
} as const;

/** Fields that say nothing about a function here; clients must send some of them. */
const IGNORED = ["Role", "Architectures", "TracingConfig", "LoggingConfig", "EphemeralStorage", "PublishTo"] as const;
/** Fields whose wish this server cannot fulfil: with a value they are refused. */
const UNKNOWN = [
  "CapacityProviderConfig",
  "CodeSigningConfigArn",
  "DeadLetterConfig",
  "DurableConfig",
  "FileSystemConfigs",
  "Handler",
  "KMSKeyArn",
  "Layers",
  "Runtime",
  "SnapStart",
  "SourceKMSKeyArn",
  "TenancyConfig",
  "VpcConfig",
  "S3Bucket",
  "S3Key",
  "S3ObjectVersion",
  "ZipFile",
] as const;

/** Returns the schema of a body with these fields besides those that are ignored or refused by name. */
function request<T extends Record<string, TSchema>>(fields: T) {
  const others = Object.fromEntries([...IGNORED, ...UNKNOWN].map((name) => [name, Type.Optional(Type.Unknown())]));
  return { known: Type.Object(fields), all: Type.Object({ ...others, ...fields }, { additionalProperties: false }) };
}

const Publish = Type.Optional(Type.Boolean());
const RevisionId = Type.Optional(Type.String());

const CREATE = request({
  ...CONFIGURATION,
  FunctionName: Type.String(),
  Code: Type.Record(Type.String(), Type.Unknown()),
  PackageType: Type.Optional(Type.String()),
  Publish,
  Tags: Type.Optional(Texts),
});
const CODE = request({
  ImageUri: Type.Optional(Type.String()),
  Publish,
  DryRun: Type.Optional(Type.Boolean()),
  RevisionId,
});
const CHANGE = request({ ...CONFIGURATION, RevisionId });
const PUBLISH = request({
  CodeSha256: Type.Optional(Type.String()),
  Description: Type.Optional(Type.String()),
  RevisionId,
});

type Configuration = Pick<Static<typeof CHANGE.known>, keyof typeof CONFIGURATION>;

/** Reads the body of each operation. Throws `InvalidParameterValueException`. */
export const readCreate = reader(CREATE);
export const readCode = reader(CODE);
export const readChange = reader(CHANGE);
export const readPublish = reader(PUBLISH);

/** Checks what becomes of such a body by the rules for those of `/v1`. Throws `InvalidParameterValueException`. */
export const checkCreate: (body: CreateFunction) => void = bodyCheck(CreateFunction);
export const checkUpdate: (body: UpdateFunction) => void = bodyCheck(UpdateFunction);

function reader<T extends TSchema>({
  all,
}: {
  readonly known: T;
  readonly all: TSchema;
}): (body: unknown) => Static<T> {
  const check = bodyCheck(all);
  return (body) => {
    const given = objectOf(body);
    refuseUnknown(given);
    check(given);
    return given;
  };
}

/** Refuses a function that is no image, or one of whose fields cannot be fulfilled. */
function refuseUnknown(given: Record<string, unknown>): void {
  const name = UNKNOWN.find((one) => isSet(given[one]));
  if (name === undefined) return;
  const why = ["ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion", "Handler", "Runtime"].some((one) => one === name)
    ? `functions here are images: give ImageUri, and no ${name}`
    : "this server has nothing like it: leave it out";
  throw new AwsError("InvalidParameterValueException", `Invalid ${name}: ${why}`);
}

/** Returns whether a field has a value: clients send empty lists and objects for "none". */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return false;
  if (typeof value !== "object") return true;
  return Object.values(value).some(isSet);
}

/** Returns the image of a new function. */
export function imageOf({ Code, PackageType = "Image" }: Static<typeof CREATE.known>): string {
  refuseUnknown(Code);
  if (PackageType !== "Image") {
    throw new AwsError(
      "InvalidParameterValueException",
      "Invalid PackageType: functions here are images, give Image and Code.ImageUri",
    );
  }
  const image = Code["ImageUri"];
  if (typeof image === "string" && image !== "") return image;
  throw new AwsError("InvalidParameterValueException", "Missing Code.ImageUri: give the reference of an image");
}

/** Returns the settings that a configuration gives; `labels` are those that the function has. */
export function settingsFrom(
  given: Configuration,
  labels: Settings["labels"],
): Omit<UpdateFunction, "image" | "name" | "probe"> {
  const { Description, Timeout, MemorySize, Environment, ImageConfig } = given;
  const { EntryPoint, Command, WorkingDirectory } = ImageConfig ?? {};
  return {
    ...(Timeout !== undefined && { timeout_ms: Timeout * 1_000 }),
    ...(MemorySize !== undefined && { memory_bytes: MemorySize * MIB }),
    ...(Environment !== undefined && { environment: Environment?.Variables ?? {} }),
    ...(Description !== undefined && { labels: described(labels, Description ?? "") }),
    ...(ImageConfig !== undefined && {
      entrypoint: wordsOr(EntryPoint),
      command: wordsOr(Command),
      working_dir: WorkingDirectory || null,
    }),
  };
}

/** Returns labels with this description; an empty one is none. */
export function described(labels: Settings["labels"], description: string): Settings["labels"] {
  const { [DESCRIPTION_LABEL]: _before, ...others } = labels;
  return description === "" ? others : { ...others, [DESCRIPTION_LABEL]: description };
}

/** No words are none: the image's own. */
function wordsOr(words: readonly string[] | null | undefined): string[] | null {
  return words === undefined || words === null || words.length === 0 ? null : [...words];
}

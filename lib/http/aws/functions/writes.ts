import type { ChangedFunction, Function } from "../../../domain/functions/functions.ts";
import { parseJson } from "../../wire/body.ts";
import { LARGE_BODY_BYTES } from "../../access/guard.ts";
import { codeHash, configurationOf, revisionOf } from "./configuration.ts";
import { AwsError } from "../wire/errors.ts";
import { LATEST, parseFunctionName } from "../wire/function-names.ts";
import { findFunction } from "../wire/qualified.ts";
import {
  checkCreate,
  checkUpdate,
  described,
  imageOf,
  readChange,
  readCode,
  readCreate,
  readPublish,
  settingsFrom,
} from "./requests.ts";
import type { AwsRequest, AwsTools } from "../wire/tools.ts";

/** `CreateFunction`, of an image. It can be called when this answers, so its state is `Active` at once. */
export async function createFunction({ functions }: AwsTools, asked: AwsRequest) {
  const given = readCreate(await bodyOf(asked));
  const { FunctionName: name, Publish = false, Tags = {}, Description } = given;
  const labels = described(Tags, Description ?? "");
  const { labels: _described, ...settings } = settingsFrom(given, {});
  const body = {
    image: imageOf(given),
    name: parseFunctionName(name, null).name,
    ...settings,
    ...(Object.keys(labels).length > 0 && { labels }),
  };
  checkCreate(body);
  return published(await functions.create(body), Publish);
}

/** `UpdateFunctionCode`: another image, or the same one pulled again. */
export async function updateFunctionCode(tools: AwsTools, asked: AwsRequest) {
  const fn = unqualified(tools, asked);
  const { ImageUri, Publish = false, DryRun = false, RevisionId } = readCode(await bodyOf(asked));
  checkRevision(fn, RevisionId);
  if (ImageUri === undefined) {
    throw new AwsError("InvalidParameterValueException", "Missing ImageUri: give the reference of an image");
  }
  if (DryRun) return configurationOf(fn, LATEST);
  checkUpdate({ image: ImageUri });
  const { functions } = tools;
  // Under the same name there may be another image now.
  const changed =
    ImageUri === fn.image ? await functions.pull(fn.id) : await functions.update(fn.id, { image: ImageUri });
  return published(changed, Publish);
}

/** `UpdateFunctionConfiguration`: the fields that the body has. */
export async function updateFunctionConfiguration(tools: AwsTools, asked: AwsRequest) {
  const fn = unqualified(tools, asked);
  const given = readChange(await bodyOf(asked));
  checkRevision(fn, given.RevisionId);
  const body = settingsFrom(given, fn.labels);
  checkUpdate(body);
  return configurationOf(await tools.functions.update(fn.id, body), LATEST);
}

/** `DeleteFunction`. One with routes is in conflict with them, as it is for the rest of the API. */
export async function deleteFunction(tools: AwsTools, asked: AwsRequest): Promise<void> {
  await tools.functions.delete(unqualified(tools, asked).id, { cascade: false });
}

/** `PublishVersion`: every change is a version here, so this names the number of the function as it is now. */
export async function publishVersion(tools: AwsTools, asked: AwsRequest) {
  const fn = unqualified(tools, asked);
  const { CodeSha256, RevisionId } = readPublish(await bodyOf(asked));
  checkRevision(fn, RevisionId);
  if (CodeSha256 !== undefined && CodeSha256 !== codeHash(fn)) {
    throw new AwsError(
      "InvalidParameterValueException",
      `CodeSHA256 (${CodeSha256}) is different from current CodeSHA256 in $LATEST (${codeHash(fn)})`,
    );
  }
  return published(fn, true);
}

function published(fn: ChangedFunction | Function, publish: boolean) {
  return configurationOf(fn, publish ? String(fn.version) : LATEST);
}

/** Returns the function of a change, which cannot be one of a version: they never change. */
function unqualified(tools: AwsTools, asked: AwsRequest): Function {
  const { fn, qualifier } = findFunction(tools, asked);
  if (qualifier === undefined || qualifier === LATEST) return fn;
  throw new AwsError(
    "InvalidParameterValueException",
    `Version ${qualifier.slice(0, 40)} cannot be changed or deleted: leave the qualifier out`,
  );
}

function checkRevision(fn: Function, asked: string | undefined): void {
  if (asked === undefined || asked === revisionOf(fn)) return;
  throw new AwsError(
    "PreconditionFailedException",
    "The RevisionId provided does not match the latest RevisionId: call GetFunction to retrieve the latest one",
  );
}

async function bodyOf({ guard, request }: AwsRequest): Promise<unknown> {
  return parseJson(await guard.readBody(request, LARGE_BODY_BYTES));
}

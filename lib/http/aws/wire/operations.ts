/** The operations of Lambda's API that this server has, as AWS names them. */
export const SERVED = [
  "Invoke",
  "InvokeAsync",
  "InvokeWithResponseStream",
  "ListFunctions",
  "GetFunction",
  "GetFunctionConfiguration",
  "CreateFunction",
  "UpdateFunctionCode",
  "UpdateFunctionConfiguration",
  "DeleteFunction",
  "PublishVersion",
  "ListVersionsByFunction",
] as const;
export type Served = (typeof SERVED)[number];

/** All operations of AWS's own model (service-2.json of botocore 1.43, 2015-03-31), those that are served first. */
const MODEL = `
Invoke POST /2015-03-31/functions/{}/invocations
InvokeWithResponseStream POST /2021-11-15/functions/{}/response-streaming-invocations
InvokeAsync POST /2014-11-13/functions/{}/invoke-async
ListFunctions GET /2015-03-31/functions
GetFunction GET /2015-03-31/functions/{}
GetFunctionConfiguration GET /2015-03-31/functions/{}/configuration
CreateFunction POST /2015-03-31/functions
UpdateFunctionCode PUT /2015-03-31/functions/{}/code
UpdateFunctionConfiguration PUT /2015-03-31/functions/{}/configuration
DeleteFunction DELETE /2015-03-31/functions/{}
PublishVersion POST /2015-03-31/functions/{}/versions
ListVersionsByFunction GET /2015-03-31/functions/{}/versions
AddPermission POST /2015-03-31/functions/{}/policy
GetPolicy GET /2015-03-31/functions/{}/policy
RemovePermission DELETE /2015-03-31/functions/{}/policy/{}
CreateAlias POST /2015-03-31/functions/{}/aliases
ListAliases GET /2015-03-31/functions/{}/aliases
GetAlias GET /2015-03-31/functions/{}/aliases/{}
UpdateAlias PUT /2015-03-31/functions/{}/aliases/{}
DeleteAlias DELETE /2015-03-31/functions/{}/aliases/{}
CreateEventSourceMapping POST /2015-03-31/event-source-mappings
ListEventSourceMappings GET /2015-03-31/event-source-mappings
GetEventSourceMapping GET /2015-03-31/event-source-mappings/{}
UpdateEventSourceMapping PUT /2015-03-31/event-source-mappings/{}
DeleteEventSourceMapping DELETE /2015-03-31/event-source-mappings/{}
GetAccountSettings GET /2016-08-19/account-settings
ListTags GET /2017-03-31/tags/{}
TagResource POST /2017-03-31/tags/{}
UntagResource DELETE /2017-03-31/tags/{}
PutFunctionConcurrency PUT /2017-10-31/functions/{}/concurrency
DeleteFunctionConcurrency DELETE /2017-10-31/functions/{}/concurrency
ListLayers GET /2018-10-31/layers
ListLayerVersions GET /2018-10-31/layers/{}/versions
PublishLayerVersion POST /2018-10-31/layers/{}/versions
GetLayerVersion GET /2018-10-31/layers/{}/versions/{}
DeleteLayerVersion DELETE /2018-10-31/layers/{}/versions/{}
GetLayerVersionPolicy GET /2018-10-31/layers/{}/versions/{}/policy
AddLayerVersionPermission POST /2018-10-31/layers/{}/versions/{}/policy
RemoveLayerVersionPermission DELETE /2018-10-31/layers/{}/versions/{}/policy/{}
GetFunctionEventInvokeConfig GET /2019-09-25/functions/{}/event-invoke-config
PutFunctionEventInvokeConfig PUT /2019-09-25/functions/{}/event-invoke-config
UpdateFunctionEventInvokeConfig POST /2019-09-25/functions/{}/event-invoke-config
DeleteFunctionEventInvokeConfig DELETE /2019-09-25/functions/{}/event-invoke-config
ListFunctionEventInvokeConfigs GET /2019-09-25/functions/{}/event-invoke-config/list
GetFunctionConcurrency GET /2019-09-30/functions/{}/concurrency
GetProvisionedConcurrencyConfig GET /2019-09-30/functions/{}/provisioned-concurrency
PutProvisionedConcurrencyConfig PUT /2019-09-30/functions/{}/provisioned-concurrency
DeleteProvisionedConcurrencyConfig DELETE /2019-09-30/functions/{}/provisioned-concurrency
CreateCodeSigningConfig POST /2020-04-22/code-signing-configs
ListCodeSigningConfigs GET /2020-04-22/code-signing-configs
GetCodeSigningConfig GET /2020-04-22/code-signing-configs/{}
UpdateCodeSigningConfig PUT /2020-04-22/code-signing-configs/{}
DeleteCodeSigningConfig DELETE /2020-04-22/code-signing-configs/{}
ListFunctionsByCodeSigningConfig GET /2020-04-22/code-signing-configs/{}/functions
GetFunctionCodeSigningConfig GET /2020-06-30/functions/{}/code-signing-config
PutFunctionCodeSigningConfig PUT /2020-06-30/functions/{}/code-signing-config
DeleteFunctionCodeSigningConfig DELETE /2020-06-30/functions/{}/code-signing-config
GetRuntimeManagementConfig GET /2021-07-20/functions/{}/runtime-management-config
PutRuntimeManagementConfig PUT /2021-07-20/functions/{}/runtime-management-config
GetFunctionUrlConfig GET /2021-10-31/functions/{}/url
CreateFunctionUrlConfig POST /2021-10-31/functions/{}/url
UpdateFunctionUrlConfig PUT /2021-10-31/functions/{}/url
DeleteFunctionUrlConfig DELETE /2021-10-31/functions/{}/url
ListFunctionUrlConfigs GET /2021-10-31/functions/{}/urls
GetFunctionRecursionConfig GET /2024-08-31/functions/{}/recursion-config
PutFunctionRecursionConfig PUT /2024-08-31/functions/{}/recursion-config
`;

interface Operation {
  readonly name: string;
  readonly method: string;
  readonly segments: readonly string[];
}

const OPERATIONS: readonly Operation[] = MODEL.trim()
  .split("\n")
  .map((line) => {
    const [name = "", method = "", path = ""] = line.split(" ");
    return { name, method, segments: path.split("/") };
  });

/** The first segments of their paths, which are the dates of versions of AWS's API. */
export const PREFIXES: readonly string[] = [...new Set(OPERATIONS.map(({ segments }) => segments[1] ?? ""))];

/** The operation that a request asks for, and what its path names. */
export interface AskedOperation {
  readonly operation: string;
  /** Percent-decoded; empty if the path names nothing. */
  readonly subject: string;
}

/** Finds the operation for a method and a path as they were sent; undefined if AWS has none. A slash at the end is ignored. */
export function findOperation(method: string, path: string): AskedOperation | undefined {
  const given = path.replace(/\/$/, "").split("/");
  const found = OPERATIONS.find(
    (operation) =>
      operation.method === method &&
      operation.segments.length === given.length &&
      operation.segments.every((segment, index) => segment === "{}" || segment === given[index]),
  );
  if (found === undefined) return undefined;
  return { operation: found.name, subject: given[found.segments.indexOf("{}")] ?? "" };
}

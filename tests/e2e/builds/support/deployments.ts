import { ApiClient } from "../../../../lib/cli/api/api-client.ts";
import { deploy, type Deployed, type DeployOptions } from "../../../../lib/cli/deploy/deploy.ts";

/** Deploys to a server, and returns the result with all that a person would have read. */
export async function deployed(
  { url }: { readonly url: string },
  source: string,
  options: Partial<DeployOptions> = {},
): Promise<Deployed & { readonly read: string }> {
  const read: string[] = [];
  const out = { note: (text: string) => void read.push(`${text}\n`), progress: (text: string) => void read.push(text) };
  const signal = options.signal ?? new AbortController().signal;
  const api = new ApiClient({ url, key: null, ca: null, isOwn: true, allowHttp: "off" });
  const result = await deploy({ ...options, source, signal }, api, out);
  return { ...result, read: read.join("") };
}

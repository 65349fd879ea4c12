import { DeployError, deploy, type Deployed, type DeployOptions } from "../../../../lib/cli/deploy/deploy.ts";
import type { DeployApi } from "../../../../lib/cli/deploy/deploy-api.ts";

/** Returns a client of a server that asks for no key. */
function apiOf(url: string): DeployApi {
  const send: DeployApi["send"] = ({ method, path, query = {}, body, headers, signal }) => {
    const target = new URL(url + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    return fetch(target, {
      method,
      ...(body !== undefined && { body: body instanceof Blob ? body : JSON.stringify(body) }),
      ...(headers !== undefined && { headers }),
      ...(signal !== undefined && { signal }),
    });
  };
  const errorOf: DeployApi["errorOf"] = async (response) => {
    const { message } = (await response.json()) as { readonly message: string }; // an envelope
    return Object.assign(new DeployError(message), { status: response.status });
  };
  return {
    url,
    send,
    errorOf,
    data: async (request) => {
      const response = await send(request);
      if (!response.ok) throw await errorOf(response);
      return ((await response.json()) as { readonly data: never }).data; // likewise
    },
  };
}

/** Deploys to a server, and returns the result with all that a person would have read. */
export async function deployed(
  server: { readonly url: string },
  source: string,
  options: Partial<DeployOptions> = {},
): Promise<Deployed & { readonly read: string }> {
  const read: string[] = [];
  const out = { note: (text: string) => void read.push(`${text}\n`), progress: (text: string) => void read.push(text) };
  const signal = options.signal ?? new AbortController().signal;
  const result = await deploy({ ...options, source, signal }, apiOf(server.url), out);
  return { ...result, read: read.join("") };
}

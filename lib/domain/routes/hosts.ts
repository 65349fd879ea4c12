import { Type } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { HOST_LENGTH, ROUTE_HOSTS } from "../limits.ts";
import { quoted } from "../quoted.ts";

/** The host names of a route, as a record or a request has them. */
export const Hosts = Type.Array(Type.String({ minLength: 1, maxLength: HOST_LENGTH }), {
  maxItems: ROUTE_HOSTS,
  uniqueItems: true,
  description:
    "Host names, instead of a `path`: all that is asked of one of them goes to the function, which is at `/` there and has an origin of its own. " +
    "In lower case, without a port; names beyond ASCII in their `xn--` form. Empty for a route with a path.",
  examples: [[]],
});

/** A label of a host name. Underscores are not for host names, but container networks and browsers know them. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;

/** Returns why a name cannot be the host of a route, or undefined. `own` are the names by which the API is reached. */
export function hostProblem(host: string, own: ReadonlySet<string>): string | undefined {
  if (host.includes("*")) return "there are no wildcards: name each host";
  if (host.startsWith("[") || /:.*:/.test(host)) return "it is an address: give a name";
  if (/[/?#@\\]/.test(host)) return `give the name of the host alone, such as "app.example.com"`;
  const canonical = canonicalName(host.replace(/:\d*$/, ""));
  if (canonical === undefined) return "it is no name that a host can have";
  if (IPV4.test(canonical)) return "it is an address: give a name";
  if (canonical === "localhost" || canonical.endsWith(".localhost"))
    return "it means this machine, where the API is: give another name";
  if (own.has(canonical)) return "the API of this server is reached by that name: give another one";
  return canonical === host ? undefined : `write it as ${quoted(canonical)}`;
}

/** Throws `invalid_request` for names that cannot be hosts of a route. */
export function checkHosts(hosts: readonly string[], own: ReadonlySet<string>): void {
  for (const [at, host] of hosts.entries()) {
    const problem = hostProblem(host, own);
    if (problem !== undefined)
      throw new AppError("invalid_request", `Invalid "hosts/${at}" ${quoted(host)}: ${problem}`);
  }
}

/**
 * Returns the name in a `Host` header in the form that routes have: in lower case, without the port and the dot at its end that a
 * full name may have. What is no name is returned in some form that no route has.
 */
export function nameInHost(header: string): string {
  // Most have neither capitals nor a dot at the end, and this is asked at each request.
  const colon = header.lastIndexOf(":");
  const name = colon === -1 || !DIGITS.test(header.slice(colon + 1)) ? header : header.slice(0, colon);
  return (name.endsWith(".") ? name.slice(0, -1) : name).toLowerCase();
}

const DIGITS = /^\d*$/;

/** Returns a name as URLs have it: in lower case, in ASCII, without a dot at its end; undefined for what is no name. */
function canonicalName(name: string): string | undefined {
  const parsed = URL.parse(`http://${name}/`)?.hostname.replace(/\.$/, "");
  if (parsed === undefined || parsed.length > HOST_LENGTH) return undefined;
  if (IPV4.test(parsed)) return parsed;
  return parsed.split(".").every((label) => LABEL.test(label)) ? parsed : undefined;
}

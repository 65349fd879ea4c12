import type { Route } from "../../domain/routes/routes.ts";

/** As much as we need of a route of Elysia. */
interface Registered {
  readonly method: string;
  readonly path: string;
}

/** The methods that a path has, for the `Allow` of a 405; none where the path does not exist. */
export function allowedMethods(routes: readonly Registered[], path: string): readonly string[] {
  const methods = new Set<string>();
  for (const { method, path: pattern } of routes) {
    if (!matches(pattern, path)) continue;
    methods.add(method);
    if (method === "GET") methods.add("HEAD");
  }
  return [...methods].toSorted();
}

/** Whether a route's function is called with this method. */
export function callsFunction({ methods }: Pick<Route, "methods">, method: string): boolean {
  return methods.some((one) => one === method || (one === "GET" && method === "HEAD"));
}

/** The methods that a route answers, for the `Allow` of a 405: where it has CORS, `OPTIONS` needs no function. */
export function routeMethods({ methods, cors }: Pick<Route, "methods" | "cors">): readonly string[] {
  const implied = [...(methods.includes("GET") ? ["HEAD"] : []), ...(cors === null ? [] : ["OPTIONS"])];
  return [...new Set([...methods, ...implied])].toSorted();
}

function matches(pattern: string, path: string): boolean {
  if (pattern.endsWith("/*")) return path.startsWith(pattern.slice(0, -1));
  const wanted = segments(pattern);
  const given = segments(path);
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment.startsWith(":") || segment === given[index])
  );
}

function segments(path: string): string[] {
  return path.replace(/\/$/, "").split("/");
}

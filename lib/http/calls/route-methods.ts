import type { Route } from "../../domain/routes/routes.ts";

/** Returns whether a route calls its function for this method. */
export function callsFunction({ methods }: Pick<Route, "methods">, method: string): boolean {
  return methods.some((one) => one === method || (one === "GET" && method === "HEAD"));
}

/** Returns the methods that a route answers, for `Allow`. A route with CORS answers `OPTIONS` without its function. */
export function routeMethods({ methods, cors }: Pick<Route, "methods" | "cors">): readonly string[] {
  const implied = [...(methods.includes("GET") ? ["HEAD"] : []), ...(cors === null ? [] : ["OPTIONS"])];
  return [...new Set([...methods, ...implied])].toSorted();
}

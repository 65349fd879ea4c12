import type { Route } from "../../domain/routes/routes.ts";

/** Whether a route calls its function for this method. */
export function callsFunction({ methods }: Pick<Route, "methods">, method: string): boolean {
  return methods.some((one) => one === method || (one === "GET" && method === "HEAD"));
}

/** The methods that a route answers, for the `Allow` of a 405. A route with CORS answers `OPTIONS` without its function. */
export function routeMethods({ methods, cors }: Pick<Route, "methods" | "cors">): readonly string[] {
  const implied = [...(methods.includes("GET") ? ["HEAD"] : []), ...(cors === null ? [] : ["OPTIONS"])];
  return [...new Set([...methods, ...implied])].toSorted();
}

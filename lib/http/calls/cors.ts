import { allowedOrigin, type Cors } from "../../domain/routes/cors.ts";

/** Headers that a route with CORS sets itself. Those of its function are dropped. */
const DECIDED = [
  "Access-Control-Allow-Origin",
  "Access-Control-Allow-Credentials",
  "Access-Control-Expose-Headers",
  "Access-Control-Allow-Methods",
  "Access-Control-Allow-Headers",
  "Access-Control-Max-Age",
] as const;

/** Lets the page of another origin read an answer if the route allows it, whatever the function's own headers say. */
export function setCors(headers: Headers, cors: Cors, origin: string | null): void {
  if (!allow(headers, cors, origin)) return;
  if (cors.exposed_headers.length > 0) headers.set("Access-Control-Expose-Headers", cors.exposed_headers.join(", "));
}

/** Answers an `OPTIONS` without the function: with what a page of this origin may send, and for anyone the methods. */
export function preflightAnswer(
  cors: Cors,
  origin: string | null,
  { methods, allow: known }: { readonly methods: readonly string[]; readonly allow: readonly string[] },
): Response {
  const headers = new Headers({ Allow: known.join(", ") });
  if (allow(headers, cors, origin)) {
    headers.set("Access-Control-Allow-Methods", methods.join(", "));
    if (cors.headers.length > 0) headers.set("Access-Control-Allow-Headers", cors.headers.join(", "));
    headers.set("Access-Control-Max-Age", String(cors.max_age_s));
  }
  return new Response(null, { status: 204, headers });
}

/** Sets the headers for this origin and returns whether it is allowed. `Vary` keeps caches from giving its answers to another. */
function allow(headers: Headers, cors: Cors, origin: string | null): boolean {
  for (const name of DECIDED) headers.delete(name);
  const allowed = allowedOrigin(cors, origin);
  if (allowed !== "*") headers.append("Vary", "Origin");
  if (allowed === null) return false;
  headers.set("Access-Control-Allow-Origin", allowed);
  if (cors.credentials) headers.set("Access-Control-Allow-Credentials", "true");
  return true;
}

import { allowedOrigin, type Cors } from "../../domain/routes/cors.ts";

/** What the route decides where it has CORS; a function of such a route need not, and cannot. */
const DECIDED = [
  "Access-Control-Allow-Origin",
  "Access-Control-Allow-Credentials",
  "Access-Control-Expose-Headers",
  "Access-Control-Allow-Methods",
  "Access-Control-Allow-Headers",
  "Access-Control-Max-Age",
] as const;

/** Has the page of another origin read an answer where the route lets it, whatever the function said of it. */
export function setCors(headers: Headers, cors: Cors, origin: string | null): void {
  if (!allow(headers, cors, origin)) return;
  if (cors.exposed_headers.length > 0) headers.set("Access-Control-Expose-Headers", cors.exposed_headers.join(", "));
}

/** The answer to an `OPTIONS` that no function is asked for: what a page of this origin may send, and to anyone the methods. */
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

/** Says whether this origin may, to its browser and to caches: what is for one origin must not be shown to another. */
function allow(headers: Headers, cors: Cors, origin: string | null): boolean {
  for (const name of DECIDED) headers.delete(name);
  const allowed = allowedOrigin(cors, origin);
  if (allowed !== "*") headers.append("Vary", "Origin");
  if (allowed === null) return false;
  headers.set("Access-Control-Allow-Origin", allowed);
  if (cors.credentials) headers.set("Access-Control-Allow-Credentials", "true");
  return true;
}

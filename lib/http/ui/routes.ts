import type { Server } from "bun";
import { Elysia } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { quoted } from "../../domain/quoted.ts";
import { answerFile } from "../docs/embedded-file.ts";
import type { Guard } from "../access/guard.ts";
import type { FrontEnd, FrontEndFile } from "./front-end.ts";
import { sessionRoutes, type SessionTools } from "./session.ts";

/** Lets the page load its own files and ask this server, and nothing else. Nothing inline runs. */
const POLICY =
  "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const SAFE = {
  "Content-Security-Policy": POLICY,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
} as const;

/** A year, in seconds: a file never changes under its name. */
const FOREVER = "public, max-age=31536000, immutable";

/** The paths that need no key: they show nothing of the server's data. What the page asks for then needs one. */
export const UI_OPEN = ["/ui", "/ui/*", "/ui/assets/:file", "/ui/login", "/ui/logout"];

/**
 * `/ui`: the dashboard. Its page and files are the same for everyone and loaded at the first request for them; its data comes
 * from `/v1`.
 */
export function uiRoutes(
  guard: Guard<"read">,
  tools: SessionTools & { readonly server: () => Server<unknown> | null },
) {
  let loading: Promise<Loaded> | undefined;
  const loaded = (): Promise<Loaded> => {
    loading ??= load();
    // The next request tries again.
    loading.catch(() => (loading = undefined));
    return loading;
  };
  const page = async ({ request }: { request: Request }) => answerPage(request, await loaded());
  const hidden = () => ({ detail: { hide: true } }) as const;
  return new Elysia({ normalize: false })
    .get("/ui", page, hidden())
    .get("/ui/*", page, hidden())
    .get("/ui/assets/:file", async ({ request, params }) => answerAsset(request, await loaded(), params.file), hidden())
    .use(sessionRoutes(guard, tools));
}

interface Loaded {
  readonly page: string;
  readonly tag: string;
  readonly files: ReadonlyMap<string, FrontEndFile>;
}

async function load(): Promise<Loaded> {
  const { loadFrontEnd } = await import("./front-end.ts");
  const { script, style, icon }: FrontEnd = await loadFrontEnd();
  const files = new Map([script, style, icon].map((file) => [file.name, file]));
  return { page: pageWith(script, style, icon), tag: `"${script.hash}-${style.hash}"`, files };
}

function pageWith(script: FrontEndFile, style: FrontEndFile, icon: FrontEndFile): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>Slipway</title>
    <link rel="icon" href="/ui/assets/${icon.name}" />
    <link rel="stylesheet" href="/ui/assets/${style.name}" />
    <script type="module" src="/ui/assets/${script.name}"></script>
  </head>
  <body>
    <div id="app"></div>
    <noscript>The dashboard needs JavaScript. The API is at /v1, and the manual at /docs.</noscript>
  </body>
</html>
`;
}

function answerPage(request: Request, { page, tag }: Loaded): Response {
  const headers = { ...SAFE, ETag: tag, "Cache-Control": "no-cache" };
  if (knows(request, tag)) return new Response(null, { status: 304, headers });
  return new Response(page, { headers: { ...headers, "Content-Type": "text/html; charset=utf-8" } });
}

async function answerAsset(request: Request, { files }: Loaded, name: string): Promise<Response> {
  const file = files.get(name);
  if (file === undefined) {
    throw new AppError(
      "not_found",
      `The dashboard has no file ${quoted(name)}: load the page again, it is of another version`,
    );
  }
  const headers = { ...SAFE, ETag: `"${file.hash}"`, "Cache-Control": FOREVER };
  if (knows(request, headers.ETag)) return new Response(null, { status: 304, headers });
  return answerFile(request, file.bytes, { ...headers, "Content-Type": file.type });
}

function knows(request: Request, tag: string): boolean {
  const known = (request.headers.get("if-none-match") ?? "").split(",");
  return known.some((one) => one.trim().replace(/^W\//, "") === tag);
}

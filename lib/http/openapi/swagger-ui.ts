import { Elysia } from "elysia";
import script from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import style from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import { DOCUMENT_PATHS, type DocumentForm, inForm } from "./forms.ts";
import type { JsonObject } from "./schema.ts";
import { answerFile } from "../docs/embedded-file.ts";
import { type Guard, resource } from "../access/guard.ts";
import { PAGE_HEADER } from "../access/own-page.ts";

/** Lets the page load nothing from elsewhere. Swagger UI has its icons and some styles inline. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Slipway API</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="/swagger/swagger-ui.css" />
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/swagger/swagger-ui.js"></script>
    <script src="/swagger/start.js"></script>
  </body>
</html>
`;

/** "Try it out" may change something with the login of a browser, too. */
const START = `window.ui = SwaggerUIBundle({
  url: "/swagger/json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    request.headers["${PAGE_HEADER}"] = "1";
    return request;
  },
});
`;

/** `/swagger`: Swagger UI, served from the binary, and the OpenAPI documents, each made at the first request for it. */
export function docsRoutes(guard: Guard<"read">, document: () => Promise<JsonObject>) {
  let whole: Promise<JsonObject> | undefined;
  const made: { [F in DocumentForm]?: Promise<unknown> } = {};
  const publish = async (form: DocumentForm) => published(inForm(await (whole ??= document()), form));
  // A new object for each: Elysia completes the options that it is given.
  const hidden = () => ({ needs: "read", long: true, detail: { hide: true } }) as const;
  const text = (body: string, type: string) =>
    new Response(body, { headers: { "Content-Type": type, "Content-Security-Policy": POLICY } });
  return resource(guard, "documentation")
    .get("/", () => text(PAGE, "text/html; charset=utf-8"), hidden())
    .get(DOCUMENT_PATHS.plain, () => (made.plain ??= publish("plain")), hidden())
    .get(DOCUMENT_PATHS.full, () => (made.full ??= publish("full")), hidden())
    .get("/start.js", () => text(START, "text/javascript; charset=utf-8"), hidden())
    .get("/swagger-ui.js", ({ request }) => asset(request, script, "text/javascript; charset=utf-8"), hidden())
    .get("/swagger-ui.css", ({ request }) => asset(request, style, "text/css; charset=utf-8"), hidden());
}

/** Serves a file of Swagger UI. */
async function asset(request: Request, path: string, type: string): Promise<Response> {
  return answerFile(request, await Bun.file(path).bytes(), { "Content-Type": type });
}

/**
 * Returns the document as @elysiajs/swagger publishes it. The plugin's own reading of the routes is excluded: it is not
 * valid OpenAPI and lacks wildcard paths. The plugin is loaded when it is first needed, to keep the start short.
 */
async function published(document: JsonObject): Promise<unknown> {
  const { swagger } = await import("@elysiajs/swagger");
  const documentation: object = document; // the plugin wants OpenAPI's type; a test validates the document
  const publisher = new Elysia().use(swagger({ path: "/ui", specPath: "/json", exclude: /./, documentation }));
  return (await publisher.handle(new Request("http://localhost/json"))).json();
}

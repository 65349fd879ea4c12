import { AppError } from "../../domain/errors.ts";
import { quoted } from "../../domain/quoted.ts";
import { type Guard, resource } from "../access/guard.ts";

/** Lets the pages load their own style, script and search index, and nothing else. */
const POLICY =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Serves the manual of lib/docs at `/docs`. It is rendered at the first request and kept from then on. */
export function manualRoutes(guard: Guard<"read">, version: string) {
  let loading: Promise<Manual> | undefined;
  const manual = (): Promise<Manual> => (loading ??= load(version));
  // A new object for each: Elysia completes the options that it is given.
  const hidden = () => ({ needs: "read", detail: { hide: true } }) as const;
  return resource(guard, "documentation")
    .get("/", async () => answer((await manual()).index, "text/html"), hidden())
    .get("/manual.css", async () => answer((await manual()).style, "text/css"), hidden())
    .get("/search-box.js", async () => answer((await manual()).script, "text/javascript"), hidden())
    .get("/search.json", async () => answer((await manual()).search, "application/json"), hidden())
    .get("/:page", async ({ params }) => answer(pageOf(await manual(), params.page), "text/html"), hidden());
}

interface Manual {
  readonly index: string;
  readonly pages: ReadonlyMap<string, string>;
  readonly style: string;
  readonly script: string;
  readonly search: string;
}

/** Loads the Markdown library and the pages, which would make the start slower. */
async function load(version: string): Promise<Manual> {
  const [{ renderManual }, { layOut }, { default: font }, { default: style }, { default: script }] = await Promise.all([
    import("./manual.ts"),
    import("./layout.ts"),
    import("../../ui/style/font.css", { with: { type: "text" } }),
    import("./manual.css", { with: { type: "text" } }),
    import("./search-box.js", { with: { type: "text" } }),
  ]);
  const chapters = await renderManual();
  const pages = chapters.flatMap((chapter) => chapter.pages);
  return {
    index: layOut(chapters, undefined, version),
    pages: new Map(pages.map((page) => [page.name, layOut(chapters, page, version)])),
    style: font + style,
    script,
    search: JSON.stringify(
      pages.flatMap(({ name, title, sections }) => sections.map((section) => ({ page: name, title, ...section }))),
    ),
  };
}

function pageOf({ pages }: Manual, name: string): string {
  const html = pages.get(name);
  if (html === undefined) {
    throw new AppError("not_found", `The manual has no page ${quoted(name)}: GET /docs lists its pages`);
  }
  return html;
}

function answer(body: string, type: string): Response {
  return new Response(body, {
    headers: {
      "Content-Type": type === "application/json" ? type : `${type}; charset=utf-8`,
      "Content-Security-Policy": POLICY,
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "no-referrer",
    },
  });
}

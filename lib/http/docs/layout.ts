import type { Chapter } from "./manual.ts";
import { escapeHtml, type RenderedPage } from "./markdown.ts";

/** The page of the manual as HTML; without a page, the list of all of them. */
export function layOut(chapters: readonly Chapter[], page: RenderedPage | undefined, version: string): string {
  const title = page === undefined ? "Slipway manual" : `${escapeHtml(page.title)} - Slipway manual`;
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>${title}</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="/docs/manual.css" />
    <script src="/docs/search-box.js" defer></script>
  </head>
  <body>
    <a class="skip" href="#content">Skip to the text</a>
    <header>
      <a class="brand" href="/docs">Slipway <span>${escapeHtml(version)}</span></a>
      <div class="search" role="search">
        <input id="search" type="search" role="combobox" autocomplete="off" spellcheck="false" disabled
          placeholder="Search (press /)" aria-label="Search the manual" aria-autocomplete="list"
          aria-controls="results" aria-expanded="false" />
        <ul id="results" role="listbox" aria-label="Results" hidden></ul>
      </div>
      <a class="api" href="/swagger">API</a>
      <button id="menu" type="button" aria-controls="pages" aria-expanded="false">Pages</button>
    </header>
    <div class="columns">
      <nav id="pages" aria-label="Pages">
${chapters.map((chapter) => listing(chapter, page)).join("\n")}
      </nav>
${page === undefined ? "" : contents(page)}
      <main id="content" tabindex="-1">
${page === undefined ? index(chapters) : page.html + neighbours(chapters, page)}
      </main>
    </div>
  </body>
</html>
`;
}

function listing({ title, pages }: Chapter, current: RenderedPage | undefined): string {
  const items = pages.map((page) => {
    const mark = page === current ? ' aria-current="page"' : "";
    return `<li><a href="/docs/${page.name}"${mark}>${escapeHtml(page.title)}</a></li>`;
  });
  return `<h2>${title}</h2>\n<ul>${items.join("\n")}</ul>`;
}

/** The headings of a page, beside it. */
function contents({ headings }: RenderedPage): string {
  const items = headings
    .filter(({ depth }) => depth <= 3)
    .map(({ depth, anchor, text }) => `<li class="depth-${depth}"><a href="#${anchor}">${escapeHtml(text)}</a></li>`);
  if (items.length === 0) return "";
  return `<nav class="contents" aria-label="On this page"><h2>On this page</h2>\n<ul>${items.join("\n")}</ul></nav>`;
}

function index(chapters: readonly Chapter[]): string {
  const parts = chapters.map(({ title, pages }) => {
    const items = pages.map(
      ({ name, title, summary }) =>
        `<dt><a href="/docs/${name}">${escapeHtml(title)}</a></dt><dd>${escapeHtml(summary)}</dd>`,
    );
    return `<h2>${title}</h2>\n<dl>${items.join("\n")}</dl>`;
  });
  return `<h1>The Slipway manual</h1>\n${parts.join("\n")}`;
}

function neighbours(chapters: readonly Chapter[], page: RenderedPage): string {
  const pages = chapters.flatMap((chapter) => chapter.pages);
  const place = pages.indexOf(page);
  const link = (to: RenderedPage | undefined, rel: "prev" | "next", arrow: (title: string) => string): string =>
    to === undefined ? "<span></span>" : `<a rel="${rel}" href="/docs/${to.name}">${arrow(escapeHtml(to.title))}</a>`;
  return (
    '<nav class="neighbours" aria-label="Previous and next page">' +
    link(pages[place - 1], "prev", (title) => `&larr; ${title}`) +
    link(pages[place + 1], "next", (title) => `${title} &rarr;`) +
    "</nav>\n"
  );
}

import { Marked, type Token, type Tokens } from "marked";

/** A heading within a page, with its anchor. */
export interface Heading {
  readonly text: string;
  /** 2 and more; 1 is the title of the page. */
  readonly depth: number;
  readonly anchor: string;
}

/** A part of a page under one heading, for the search. */
export interface Section {
  readonly heading: string;
  /** Empty for the part under the title of the page. */
  readonly anchor: string;
  readonly text: string;
}

/** A page of the manual, ready to be shown. */
export interface RenderedPage {
  /** The last part of its address, and the name of its file. */
  readonly name: string;
  readonly title: string;
  /** The first sentence in plain text. */
  readonly summary: string;
  readonly html: string;
  readonly headings: readonly Heading[];
  readonly sections: readonly Section[];
}

/** Renders one Markdown file. Links to other pages lead to `/docs`; those to what only a clone has become text. */
export function renderPage(name: string, markdown: string): RenderedPage {
  const headings: Heading[] = [];
  const seen = new Map<string, number>();
  const renderer = new Marked({
    renderer: {
      html: () => "",
      heading({ tokens, depth, text }) {
        const inner = this.parser.parseInline(tokens);
        if (depth === 1) return `<h1>${inner}</h1>\n`;
        const anchor = unique(anchorOf(plainText(text)), seen);
        headings.push({ text: plainText(text), depth, anchor });
        return (
          `<h${depth} id="${anchor}">${inner} ` +
          `<a class="anchor" href="#${anchor}" aria-label="Link to this section">#</a></h${depth}>\n`
        );
      },
      link({ href, tokens }) {
        const inner = this.parser.parseInline(tokens);
        const target = targetOf(href);
        return target === undefined ? inner : `<a href="${escapeHtml(target)}">${inner}</a>`;
      },
      code: ({ text, lang }) => codeBlock(text, lang ?? ""),
      table(token: Tokens.Table) {
        const inner = (cell: Tokens.TableCell) => this.parser.parseInline(cell.tokens);
        return tableOf(token, inner);
      },
    },
  });
  const tokens = renderer.lexer(markdown);
  const title = tokens.find((token): token is Tokens.Heading => token.type === "heading")?.text ?? name;
  const first = tokens.find(({ type }) => type === "paragraph");
  return {
    name,
    title: plainText(title),
    summary: /^.*?[.!?](?=\s|$)/.exec(plainText(first?.raw ?? ""))?.[0] ?? "",
    html: renderer.parser(tokens),
    headings,
    sections: sectionsOf(tokens),
  };
}

/** Returns the anchor of a heading as forges make it: lower case, words joined by hyphens, no punctuation. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");
}

/** Adds `-1` to the anchor of a second heading with the same name, as a forge does. */
function unique(anchor: string, seen: Map<string, number>): string {
  const before = seen.get(anchor) ?? 0;
  seen.set(anchor, before + 1);
  return before === 0 ? anchor : `${anchor}-${before}`;
}

/** Returns the address of a link in a browser; undefined for a file of the repository. */
function targetOf(href: string): string | undefined {
  if (/^(https?:|#|\/)/.test(href)) return href;
  const page = /^(?:\.\.\/|[a-z]+\/)?([a-z-]+)\.md(#.*)?$/.exec(href);
  return page === null ? undefined : `/docs/${page[1]}${page[2] ?? ""}`;
}

/** A table of four or more columns is shown as a list of cards on a phone, where each cell has the name of its column. */
function tableOf({ header, rows }: Tokens.Table, inner: (cell: Tokens.TableCell) => string): string {
  const named = header.some(({ text }) => text !== "");
  const head = named ? `<thead><tr>${header.map((cell) => `<th>${inner(cell)}</th>`).join("")}</tr></thead>` : "";
  const cell = (one: Tokens.TableCell, column: number): string => {
    const label = escapeHtml(plainText(header[column]?.text ?? ""));
    return `<td${label === "" ? "" : ` data-label="${label}"`}>${inner(one)}</td>`;
  };
  const body = rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("\n");
  const size = header.length >= 4 ? "wide" : "narrow";
  return `<div class="table ${size}" tabindex="0"><table>${head}<tbody>${body}</tbody></table></div>\n`;
}

/** Sets the commands of a console block apart from what they print. */
function codeBlock(text: string, language: string): string {
  const shown = language === "console" ? consoleLines(text) : escapeHtml(text);
  return `<pre tabindex="0"><code class="${escapeHtml(language)}">${shown}\n</code></pre>\n`;
}

function consoleLines(text: string): string {
  let command = false;
  return text
    .split("\n")
    .map((line) => {
      command = line.startsWith("$ ") || (command && line.startsWith("    "));
      return command ? `<b>${escapeHtml(line)}</b>` : escapeHtml(line);
    })
    .join("\n");
}

function sectionsOf(tokens: readonly Token[]): Section[] {
  const seen = new Map<string, number>();
  const sections: { heading: string; anchor: string; text: string }[] = [];
  for (const token of tokens) {
    if (token.type === "heading") {
      const heading = plainText((token as Tokens.Heading).text); // by its type
      const depth = (token as Tokens.Heading).depth;
      sections.push({ heading, anchor: depth === 1 ? "" : unique(anchorOf(heading), seen), text: "" });
    }
    const last = sections.at(-1);
    if (last === undefined || ["heading", "space", "html", "hr"].includes(token.type)) continue;
    last.text = `${last.text} ${plainText(token.raw)}`.trim();
  }
  return sections;
}

/** Returns the text of Markdown without its marks. */
function plainText(markdown: string): string {
  return markdown
    .replace(/<!--.*?-->/gs, "")
    .replace(/^```.*$/gm, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^[|\s:-]+$/gm, " ")
    .replace(/\*\*|`|^#+ |^[->] |(?<!\S)\*(?=\w)|(?<=\w)\*(?!\w)/gm, "")
    .replace(/\s*\|\s*/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}

export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

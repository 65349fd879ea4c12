import { join } from "node:path";

export const ROOT = join(import.meta.dir, "../../..");

/** A fenced block of a page, with the comment that stands right above it. */
export interface Block {
  /** The page and the line where the block begins, for messages. */
  readonly place: string;
  readonly language: string;
  readonly text: string;
  readonly directive: Directive | undefined;
}

/** The name and value in a comment such as `<!-- file: slipway.yaml -->`. */
export interface Directive {
  readonly name: string;
  readonly value: string;
}

/** A command of a `console` block, with the output that the page shows. */
export interface ShownCommand {
  readonly command: string;
  readonly output: string;
}

/** README.md and every page of the manual, by path from the root. */
export async function pagePaths(): Promise<readonly string[]> {
  const pages = await Array.fromAsync(new Bun.Glob("lib/docs/**/*.md").scan({ cwd: ROOT }));
  return ["README.md", ...pages.toSorted()];
}

export async function readPage(path: string): Promise<string> {
  return Bun.file(join(ROOT, path)).text();
}

/** All fenced blocks of a page, in order. */
export function blocksOf(page: string, markdown: string): readonly Block[] {
  const blocks: Block[] = [];
  const lines = markdown.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w*)$/.exec(lines[at] ?? "");
    if (fence === null) continue;
    const end = lines.indexOf("```", at + 1);
    if (end < 0) throw new Error(`${page}:${at + 1}: the block has no end`);
    const above = /^<!-- ([a-z ]+?)(?:: (.+))? -->$/.exec(lines[at - 1] ?? "");
    blocks.push({
      place: `${page}:${at + 1}`,
      language: fence[1] ?? "",
      text: lines.slice(at + 1, end).join("\n"),
      directive: above === null ? undefined : { name: above[1] ?? "", value: above[2] ?? "" },
    });
    at = end;
  }
  return blocks;
}

/** The commands of a `console` block. One goes on after a backslash or within single quotes. */
export function commandsOf({ text, place }: Pick<Block, "text" | "place">): readonly ShownCommand[] {
  const found: { command: string; output: string[] }[] = [];
  let open = false;
  for (const line of text.split("\n")) {
    const last = found.at(-1);
    if (open && last !== undefined) {
      last.command += `\n${line}`;
      open = isOpen(last.command);
    } else if (line.startsWith("$ ")) {
      found.push({ command: line.slice(2), output: [] });
      open = isOpen(line);
    } else if (last === undefined) {
      throw new Error(`${place}: a console block begins with a command, "$ ..."`);
    } else {
      last.output.push(line);
    }
  }
  return found.map(({ command, output }) => ({ command, output: output.join("\n").trim() }));
}

function isOpen(command: string): boolean {
  return command.endsWith("\\") || (command.split("'").length - 1) % 2 === 1;
}

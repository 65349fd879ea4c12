/** A stage of a Dockerfile. */
interface Stage {
  /** The image that it is built on, as written; or an earlier stage. */
  readonly from: string;
  /** The name after `AS`, in lower case. */
  readonly name: string | undefined;
}

/** A Dockerfile whose stages all begin with a label. */
export interface LabelledDockerfile {
  readonly text: string;
  readonly stages: readonly Stage[];
  /** The numbers of the lines that were added, from 1, in order. */
  readonly added: readonly number[];
}

/** The directive `# escape=` in one of the first lines, which changes the character that continues a line. */
const ESCAPE = /^#\s*escape\s*=\s*([\\`])\s*$/i;
const DIRECTIVE = /^#\s*[a-z]+\s*=/i;
const FROM = /^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i;

/**
 * Adds a LABEL after each FROM, so that every image of the build has it, also one that an unfinished build leaves behind.
 * Lines are read as the engine's classic builder reads them: an escape character continues them, comments may stand in
 * between, and there are no here-documents.
 */
export function withLabel(dockerfile: string, key: string, value: string): LabelledDockerfile {
  const lines = dockerfile.replace(/^\uFEFF/, "").split("\n");
  const escape = escapeOf(lines);
  const text: string[] = [];
  const stages: Stage[] = [];
  const added: number[] = [];
  let instruction: string | undefined;
  const finish = () => {
    const [, from, name] = FROM.exec(instruction ?? "") ?? [];
    instruction = undefined;
    if (from === undefined) return;
    stages.push({ from, name: name?.toLowerCase() });
    text.push(`LABEL ${key}=${value}`);
    added.push(text.length);
  };
  for (const line of lines) {
    text.push(line);
    const isBlank = /^\s*(?:#.*)?$/.test(line);
    // Comments and blank lines do not end an instruction that goes on.
    if (isBlank) continue;
    const trimmed = line.trimEnd();
    const goesOn = trimmed.endsWith(escape);
    instruction = (instruction ?? "") + (goesOn ? `${trimmed.slice(0, -1)} ` : trimmed);
    if (!goesOn) finish();
  }
  finish();
  return { text: text.join("\n"), stages, added };
}

function escapeOf(lines: readonly string[]): string {
  for (const line of lines) {
    const [, escape] = ESCAPE.exec(line.trim()) ?? [];
    if (escape !== undefined) return escape;
    if (!DIRECTIVE.test(line.trim())) break;
  }
  return "\\";
}

/** Returns the number of stages that a build with this target runs: up to the target, which is a name or a number. */
export function stagesUpTo(target: string | null, stages: readonly Stage[]): number {
  if (target === null) return stages.length;
  const named = stages.findIndex(({ name }) => name === target.toLowerCase());
  if (named >= 0) return named + 1;
  return /^\d+$/.test(target) && Number(target) < stages.length ? Number(target) + 1 : stages.length;
}

/** Returns words of the engine with the numbers that lines had before lines were added. */
export function withOriginalLines(words: string, added: readonly number[]): string {
  return words.replace(/\b(parse error (?:on )?line )(\d+)/g, (_, before: string, digits: string) => {
    const number = Number(digits);
    return `${before}${number - added.filter((line) => line <= number).length}`;
  });
}

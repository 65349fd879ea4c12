import { NotJson, parseJsonText } from "../../domain/json-text.ts";

/** The longest line of progress, a JSON object. BuildKit's have up to 1 MiB of output in base64; others are far shorter. */
const LINE_CHARACTERS = 4 * 1024 * 1024;

/**
 * Yields the parsed lines in which the engine tells how a pull or a build is going; `onChunk` is called whenever something
 * comes. Throws if they make no sense, or the stream breaks off.
 */
export async function* progressLines(
  stream: AsyncIterable<Uint8Array>,
  onChunk: () => void = () => undefined,
): AsyncGenerator {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    onChunk();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_CHARACTERS) throw new Error("the engine's progress makes no sense");
    for (const line of lines) if (line.trim() !== "") yield parsed(line);
  }
  if (rest.trim() !== "") yield parsed(rest);
}

function parsed(line: string): unknown {
  try {
    return parseJsonText(line);
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new Error(`the engine's progress is not JSON: ${error.message}`, { cause: error });
  }
}

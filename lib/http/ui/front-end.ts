// oxlint-disable-next-line import/default -- its path, or its bundle, and not the module
import script from "../../ui/start.js" with { type: "file" };
import style from "../../ui/style.css" with { type: "file" };
import { isCompressed } from "../docs/embedded-file.ts";

/** A file of the dashboard. Its name has its hash, so a browser need never ask for it again. */
export interface FrontEndFile {
  readonly name: string;
  readonly type: string;
  readonly hash: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The files of the dashboard. */
export interface FrontEnd {
  readonly script: FrontEndFile;
  readonly style: FrontEndFile;
  readonly icon: FrontEndFile;
}

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b5cad"/><path d="M7 22 25 9v4.5L13 22zm9.500 0L25 16v6z" fill="#fff"/></svg>\n`;

/** Loads the files. From source they are bundled first, which takes some tenths of a second. */
export async function loadFrontEnd(): Promise<FrontEnd> {
  return {
    script: fileOf("main", "js", "text/javascript; charset=utf-8", await bundled(script)),
    style: fileOf("style", "css", "text/css; charset=utf-8", await bundled(style)),
    icon: fileOf("icon", "svg", "image/svg+xml", Buffer.from(ICON)),
  };
}

async function bundled(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await Bun.file(path).bytes();
  if (isCompressed(bytes)) return bytes;
  const { outputs } = await Bun.build({ entrypoints: [path], target: "browser", minify: true });
  const [output] = outputs;
  if (output === undefined) throw new Error(`The bundle of ${path} is empty`);
  return new Uint8Array(await output.arrayBuffer());
}

function fileOf(name: string, ending: string, type: string, bytes: Uint8Array<ArrayBuffer>): FrontEndFile {
  const hash = new Bun.CryptoHasher("sha256").update(bytes).digest("hex").slice(0, 16);
  return { name: `${name}-${hash}.${ending}`, type, hash, bytes };
}

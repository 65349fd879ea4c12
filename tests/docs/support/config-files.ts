/** Checks a configuration file with the program that it is for. */
export function checkFile(kind: string, text: string): void {
  switch (kind) {
    case "dockerfile labels":
      if (!/^LABEL( slipway\.[a-z_]+=\S+)+$/.test(text)) throw new Error(`Not a LABEL of settings: ${text}`);
      return;
    default:
      throw new Error(`Nobody knows how to check "${kind}"`);
  }
}

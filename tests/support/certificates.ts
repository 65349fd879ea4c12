import { join } from "node:path";
import { ensureProgram, runOrThrow } from "../../.ci/packages.ts";

/** Makes a certificate for this machine, `NAME.pem`, with its key, `NAME.key`; signed by `by`, or by itself. */
export async function makeCertificate(
  directory: string,
  name: string,
  { by, address = "127.0.0.1" }: { by?: string; address?: string | undefined } = {},
): Promise<void> {
  const openssl = await ensureProgram("openssl", ["openssl"]);
  const at = (file: string) => join(directory, file);
  const command = [
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
    ["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`), "-subj", `/CN=${name}`],
    ["-addext", `subjectAltName=DNS:localhost,IP:${address}`],
    by === undefined ? [] : ["-CA", at(`${by}.pem`), "-CAkey", at(`${by}.key`)],
    by === undefined ? [] : ["-addext", "basicConstraints=critical,CA:FALSE"],
  ];
  await runOrThrow([openssl, ...command.flat()]);
}

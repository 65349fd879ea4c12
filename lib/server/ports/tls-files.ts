import { type Config, ConfigError } from "../../config/config.ts";
import { messageOf } from "../../domain/errors.ts";
import { readSmallFile } from "../../private-files.ts";

/** The contents of two files: a certificate with its chain, and its private key, as PEM. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/** The certificate files of a server. */
export class TlsFiles {
  readonly #cert: string;
  readonly #key: string;
  #read: string | undefined;

  private constructor(cert: string, key: string) {
    this.#cert = cert;
    this.#key = key;
  }

  /** Returns the files that the options name; undefined if the server speaks plain http. */
  static of({ tlsCert, tlsKey }: Pick<Config, "tlsCert" | "tlsKey">): TlsFiles | undefined {
    return tlsCert === null || tlsKey === null ? undefined : new TlsFiles(tlsCert, tlsKey);
  }

  /** Reads the files. Throws a `ConfigError` if they cannot be used. */
  async read(): Promise<TlsPair> {
    const state = await stateOf([this.#cert, this.#key]);
    const [cert, key] = await Promise.all([readPem("TLS_CERT", this.#cert), readPem("TLS_KEY", this.#key)]);
    await checkPair(["TLS_CERT", cert], ["TLS_KEY", key]);
    this.#read = state;
    return { cert, key };
  }

  /** Reads the files again if they are not those that were read last; undefined if they are. Throws like `read`. */
  async changed(): Promise<TlsPair | undefined> {
    return (await stateOf([this.#cert, this.#key])) === this.#read ? undefined : this.read();
  }
}

/** Describes files so that any change shows, also one of a symbolic link to another file. */
export async function stateOf(paths: readonly string[]): Promise<string> {
  const { stat } = process.getBuiltinModule("node:fs/promises");
  const files = paths.map(async (file) => {
    const { ino, size, mtimeMs, ctimeMs } = await stat(file);
    return [ino, size, mtimeMs, ctimeMs].join();
  });
  return (await Promise.all(files).catch(() => ["unreadable"])).join(" ");
}

async function readPem(variable: string, file: string): Promise<string> {
  try {
    return readSmallFile(file);
  } catch (error) {
    throw new ConfigError(`Cannot read ${variable} "${file}": ${messageOf(error)}`, { cause: error });
  }
}

/** A name for messages, and the PEM that goes by it. */
type NamedPem = readonly [name: string, pem: string];

/** Throws a `ConfigError` unless these are a certificate and its private key. */
export async function checkPair([certName, cert]: NamedPem, [keyName, key]: NamedPem): Promise<void> {
  // Loaded only if the server speaks https.
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  const certificate = parsed(certName, "a certificate", () => new X509Certificate(cert));
  const privateKey = parsed(keyName, "a private key without a password", () => createPrivateKey(key));
  if (certificate.checkPrivateKey(privateKey)) return;
  throw new ConfigError(
    `${keyName} is not the key of the certificate in ${certName}: give the two that belong together`,
  );
}

function parsed<T>(variable: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new ConfigError(`${variable} holds no PEM with ${what}: ${messageOf(error)}`, { cause: error });
  }
}

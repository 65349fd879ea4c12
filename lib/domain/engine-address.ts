/** The certificates for an engine that is reached by TLS, as PEM: who signed the engine's, and our own with its key. */
export interface EngineTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Gives those certificates as they are now: whoever renews them changes their files. */
export interface EngineTlsSource {
  current(): Promise<EngineTls>;
}

/** The address that the engine listens on: a Unix socket, or TCP; by default on port 2375, or 2376 with TLS. */
export type EngineAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port?: number; readonly tls?: EngineTlsSource };

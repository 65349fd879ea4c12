/** The address that the engine listens on: a Unix socket, or TCP. */
export type EngineAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

import { codeOf, messageOf } from "../../domain/errors.ts";

/** An address to listen on, and the option that chooses its port. */
export interface Address {
  readonly hostname: string;
  readonly port: number;
  /** Such as `--port or PORT`; the option of the host is named likewise. */
  readonly option: string;
}

/** Returns the message for an address at which `Bun.serve` could not listen, with the cause and what to do. */
export function listenProblem(error: unknown, { hostname, port, option }: Address): string {
  const host = option.replaceAll("port", "host").replaceAll("PORT", "HOST");
  return `Cannot listen on ${hostname}:${port}: ${causeOf(error, hostname, port, { port: option, host })}.`;
}

function causeOf(
  error: unknown,
  hostname: string,
  port: number,
  options: { readonly port: string; readonly host: string },
): string {
  const code = codeOf(error);
  switch (code === "EADDRINUSE" ? plainCode(hostname, port) : code) {
    case "EADDRINUSE":
      return `the port is in use. Stop what uses it, or choose another with ${options.port}`;
    case "EACCES":
      return `this user may not open the port. Choose one above 1023 with ${options.port}`;
    case "EADDRNOTAVAIL":
      return `this machine does not have the address. Choose one that it has with ${options.host}`;
    case "ENOTFOUND":
    case "":
      return `there is no such address. Choose one that this machine has with ${options.host}`;
    default:
      return `${messageOf(error)}. Choose another port with ${options.port}`;
  }
}

/** Returns why a plain listener cannot have an address: `Bun.serve` says of one that does not exist that its port is in use (Bun 1.4.5). */
function plainCode(hostname: string, port: number): string {
  try {
    Bun.listen({ hostname, port, socket: { data: () => undefined } }).stop(true);
    return "EADDRINUSE"; // it has just become free
  } catch (error) {
    return codeOf(error);
  }
}

import { isUtf8 } from "node:buffer";
import { forwardedTarget } from "../calls/forwarded-target.ts";
import type { BufferedRequest, FunctionRequest } from "../calls/http-message.ts";

/** The facts of a call that its request does not have. */
export interface EventFacts {
  /** The invocation's id. */
  readonly id: string;
  /** The time at which the request came, in milliseconds since 1970. */
  readonly time_ms: number;
}

/**
 * The event that a function URL of AWS Lambda makes of a request (payload format 2.0). Like there, a field that would be empty is
 * left out: `cookies`, `queryStringParameters` and `body`.
 */
export interface FunctionUrlEvent {
  readonly version: "2.0";
  readonly routeKey: "$default";
  /** Percent-encoded as it was sent. */
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly cookies?: readonly string[];
  /** By name in lower case; several values of one name are joined with commas. */
  readonly headers: Readonly<Record<string, string>>;
  /** Decoded; several values of one name are joined with commas. */
  readonly queryStringParameters?: Readonly<Record<string, string>>;
  readonly requestContext: {
    /** There are no accounts here, as for a function URL without IAM. */
    readonly accountId: "anonymous";
    readonly apiId: string;
    readonly domainName: string;
    readonly domainPrefix: string;
    readonly http: {
      readonly method: string;
      readonly path: string;
      readonly protocol: "HTTP/1.1";
      readonly sourceIp: string;
      readonly userAgent: string;
    };
    readonly requestId: string;
    readonly routeKey: "$default";
    readonly stage: "$default";
    /** As web servers log it: `12/Mar/2020:19:03:58 +0000`. */
    readonly time: string;
    readonly timeEpoch: number;
  };
  readonly body?: string;
  readonly isBase64Encoded: boolean;
}

/** Returns whether the event of a request is that of a function URL: if it came by a route, unless that says otherwise. */
export function isUrlCall({ via }: Pick<FunctionRequest, "via">): boolean {
  return via !== null && via.route !== null && via.event !== "raw";
}

/** Returns the event of a request that came by a route: its path is what a prefix route leaves of it, as for the contract `http`. */
export function functionUrlEvent(request: BufferedRequest, { id, time_ms }: EventFacts): FunctionUrlEvent {
  const { method, headers, body, via } = request;
  const { target, prefix } = forwardedTarget(request);
  const mark = target.indexOf("?");
  const [path, query] = mark === -1 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
  const client = via?.client_address ?? "";
  const host = headers["host"] ?? "localhost";
  const domain = withoutPort(host);
  const domainPrefix = isAddress(domain) ? domain : (domain.split(".", 1)[0] ?? domain);
  const parameters = parametersOf(query);
  const cookies = cookiesOf(headers["cookie"]);
  const isText = isUtf8(body);
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: path,
    rawQueryString: query,
    ...(cookies.length > 0 && { cookies }),
    headers: forwardedHeaders(headers, { client, host, prefix, usesTls: via?.encrypted === true }),
    ...(parameters !== undefined && { queryStringParameters: parameters }),
    requestContext: {
      accountId: "anonymous",
      apiId: domainPrefix,
      domainName: domain,
      domainPrefix,
      http: { method, path, protocol: "HTTP/1.1", sourceIp: client, userAgent: headers["user-agent"] ?? "" },
      requestId: id,
      routeKey: "$default",
      stage: "$default",
      time: logTime(time_ms),
      timeEpoch: time_ms,
    },
    ...(body.length > 0 && { body: Buffer.from(body).toString(isText ? "utf8" : "base64") }),
    isBase64Encoded: body.length > 0 && !isText,
  };
}

interface Forwarding {
  readonly client: string;
  readonly host: string;
  readonly prefix: string;
  readonly usesTls: boolean;
}

/** Returns the caller's own headers and what a function behind a proxy is told, which no caller can write. */
function forwardedHeaders(
  headers: Readonly<Record<string, string>>,
  { client, host, prefix, usesTls }: Forwarding,
): Record<string, string> {
  const passing = Object.entries(headers).filter(([name]) => !name.startsWith("x-forwarded-") && name !== "forwarded");
  const port = URL.parse(`http://${host}`)?.port ?? "";
  const all: (readonly [name: string, value: string])[] = [
    ...passing,
    ["host", host],
    ...(client === "" ? [] : [["x-forwarded-for", client] as const]),
    ["x-forwarded-port", port !== "" ? port : usesTls ? "443" : "80"],
    ["x-forwarded-proto", usesTls ? "https" : "http"],
    ...(prefix === "" ? [] : [["x-forwarded-prefix", prefix] as const]),
  ];
  // Not by assignment: "__proto__" is a valid name of a header.
  return Object.fromEntries(all);
}

function parametersOf(query: string): Record<string, string> | undefined {
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    const known = values.get(name);
    values.set(name, known === undefined ? value : `${known},${value}`);
  }
  return values.size === 0 ? undefined : Object.fromEntries(values);
}

function cookiesOf(header: string | undefined): string[] {
  return (header ?? "").split(";").flatMap((cookie) => (cookie.trim() === "" ? [] : [cookie.trim()]));
}

function withoutPort(host: string): string {
  return host.replace(/:\d*$/, "");
}

function isAddress(domain: string): boolean {
  return domain.startsWith("[") || /^[\d.]+$/.test(domain);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Returns a time as the Common Log Format has it, in UTC. */
function logTime(ms: number): string {
  const [date = "", time = ""] = new Date(ms).toISOString().split("T");
  const [year, month, day] = date.split("-");
  return `${day}/${MONTHS[Number(month) - 1]}/${year}:${time.slice(0, "19:03:58".length)} +0000`;
}

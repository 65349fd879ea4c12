import root from "otlp-generated/build/src/generated/root.js";
import { eventually } from "../../support/pace.ts";

/** A span as the collector got it; times are in nanoseconds since the epoch. */
export interface ReceivedSpan {
  readonly trace: string;
  readonly id: string;
  /** Empty if it has no parent. */
  readonly parent: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 5 consumer. */
  readonly kind: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly state: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** 2 if it has failed. */
  readonly status: number;
}

/** The parts of an `ExportTraceServiceRequest` that tests look at, as protobufjs writes them out. */
interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly {
        readonly traceId: Uint8Array;
        readonly spanId: Uint8Array;
        readonly parentSpanId: Uint8Array;
        readonly traceState: string;
        readonly name: string;
        readonly kind: number;
        readonly startTimeUnixNano: string;
        readonly endTimeUnixNano: string;
        readonly attributes: readonly Attribute[];
        readonly status: { readonly code?: number } | null;
      }[];
    }[];
  }[];
}
interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The decoder that OpenTelemetry has generated from its protobuf files. */
interface Decoder {
  decode(bytes: Uint8Array): object;
  toObject(message: object, options: object): unknown;
}
// Its own types say nothing about it; a wrong path throws here.
const { ExportTraceServiceRequest } = (
  root as unknown as {
    opentelemetry: { proto: { collector: { trace: { v1: { ExportTraceServiceRequest: Decoder } } } } };
  }
).opentelemetry.proto.collector.trace.v1;

/** An OpenTelemetry collector on loopback: decodes what it gets, and keeps it. */
export class Collector implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;
  readonly spans: ReceivedSpan[] = [];
  /** The attributes of the resource of each request. */
  readonly resources: Readonly<Record<string, unknown>>[] = [];
  readonly headers: Headers[] = [];
  /** The answer from now on; one that never comes if it is a promise that never settles. */
  answer: () => Response | Promise<Response> = () => new Response(new Uint8Array(0));

  constructor(tls?: { readonly cert: string; readonly key: string }) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      ...(tls && { tls }),
      fetch: (request) => this.#take(request),
    });
  }

  get url(): string {
    return this.#server.url.href.replace(/\/$/, "");
  }

  /** Returns the spans of a trace as soon as there are so many. */
  async trace(id: string, count: number): Promise<ReceivedSpan[]> {
    const spans = () => this.spans.filter(({ trace }) => trace === id);
    await eventually(() => spans().length >= count);
    return spans();
  }

  /** Closes its port for good. */
  async stop(): Promise<void> {
    await this.#server.stop(true);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #take(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== "/v1/traces") return new Response(null, { status: 404 });
    this.headers.push(request.headers);
    this.#decode(new Uint8Array(await request.arrayBuffer()));
    return this.answer();
  }

  #decode(bytes: Uint8Array): void {
    const message: unknown = ExportTraceServiceRequest.toObject(ExportTraceServiceRequest.decode(bytes), {
      longs: String,
      defaults: true,
    });
    // The decoder has checked the message against the protobuf files.
    for (const { resource, scopeSpans } of (message as ExportRequest).resourceSpans) {
      this.resources.push(attributesOf(resource.attributes));
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          trace: hex(span.traceId),
          id: hex(span.spanId),
          parent: hex(span.parentSpanId),
          name: span.name,
          kind: span.kind,
          start: BigInt(span.startTimeUnixNano),
          end: BigInt(span.endTimeUnixNano),
          state: span.traceState,
          attributes: attributesOf(span.attributes),
          status: span.status?.code ?? 0,
        });
      }
    }
  }
}

function attributesOf(attributes: readonly Attribute[]): Readonly<Record<string, unknown>> {
  // With defaults every kind of value is there; protobufjs names the one that was sent.
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, Object.values(value).find((one) => one !== null)]),
  );
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** A span of a call, as OpenTelemetry knows it. */
export interface Span {
  readonly name: string;
  readonly kind: "server" | "client" | "consumer" | "internal";
  readonly trace_id: string;
  readonly trace_flags: number;
  readonly tracestate: string | null;
  readonly span_id: string;
  readonly parent_span_id: string | null;
  /** True if the parent is not a span of this server. */
  readonly is_parent_remote: boolean;
  /** Milliseconds since the epoch, with a fraction. */
  readonly began: number;
  readonly ended: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly has_failed: boolean;
}

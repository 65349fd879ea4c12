import type { SamplerName } from "../../domain/tracing/samplers.ts";

/** The place that spans go to, and the choice of those that go there. */
export interface TracingSettings {
  /** The URL that spans are posted to. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly service_name: string;
  /** Attributes of the resource besides `service.name` and `service.version`. */
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: SamplerName;
  /** The part of all traces that the samplers by trace id record, from 0 to 1. */
  readonly sampler_arg: number;
}

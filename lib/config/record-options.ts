import { VERSIONS } from "../domain/limits.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../log.ts";
import { SAMPLERS } from "../domain/tracing/samplers.ts";
import { collectorUrl, keyValues } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { ratio } from "./quantity-readers.ts";
import { integer, oneOf, text } from "./readers.ts";

const RECORDS = 1024 ** 3;

/** Retention of records and images, logging, and tracing by OpenTelemetry, whose variables have the names of its specification. */
export const RECORD_OPTIONS = {
  retentionDays: {
    flag: "retention-days",
    variable: "RETENTION_DAYS",
    value: "DAYS",
    help: "How long invocation records are kept, counted from the end of the invocation.",
    read: integer(0, 36_500),
    default: "7",
  },
  retentionCount: {
    flag: "retention-count",
    variable: "RETENTION_COUNT",
    value: "COUNT",
    help: "How many invocation records are kept.",
    read: integer(0, RECORDS),
    default: "100000",
  },
  auditDays: {
    flag: "audit-days",
    variable: "AUDIT_DAYS",
    value: "DAYS",
    help: "How long it is recorded who changed what, and whose key was refused (GET /v1/audit).",
    read: integer(0, 36_500),
    default: "90",
  },
  keepVersions: {
    flag: "keep-versions",
    variable: "KEEP_VERSIONS",
    value: "COUNT",
    help: "Versions of a function, the current one included, whose images stay on the engine; older images that this server pulled are removed.",
    read: integer(1, VERSIONS),
    default: "5",
  },
  logLevel: {
    flag: "log-level",
    variable: "LOG_LEVEL",
    value: "LEVEL",
    help: "Lowest level that is logged to standard error: debug, info, warn or error.",
    read: oneOf(...LOG_LEVELS),
    default: "info",
  },
  logFormat: {
    flag: "log-format",
    variable: "LOG_FORMAT",
    value: "FORMAT",
    help: "json, text, or auto: text on a terminal, else json.",
    read: oneOf(...LOG_FORMATS),
    default: "auto",
  },
  otelExporterOtlpEndpoint: {
    flag: "otel-exporter-otlp-endpoint",
    variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
    value: "URL",
    help: "The OpenTelemetry collector that spans of calls are sent to (OTLP over HTTP, below /v1/traces). Without one there are none.",
    read: collectorUrl,
    default: null,
  },
  otelExporterOtlpTracesEndpoint: {
    flag: "otel-exporter-otlp-traces-endpoint",
    variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    value: "URL",
    help: "The same as the whole URL, for a collector that takes spans elsewhere than below /v1/traces.",
    read: collectorUrl,
    default: null,
  },
  otelExporterOtlpHeaders: {
    flag: "otel-exporter-otlp-headers",
    variable: "OTEL_EXPORTER_OTLP_HEADERS",
    value: "NAME=VALUE,...",
    help: "Headers of the requests to the collector, such as its key. The variable keeps them out of the list of processes.",
    read: keyValues,
    default: "",
    defaultHelp: "none",
    secret: true,
  },
  otelServiceName: {
    flag: "otel-service-name",
    variable: "OTEL_SERVICE_NAME",
    value: "NAME",
    help: "The name of this server in traces.",
    read: text,
    default: null,
    defaultHelp: "slipway",
  },
  otelResourceAttributes: {
    flag: "otel-resource-attributes",
    variable: "OTEL_RESOURCE_ATTRIBUTES",
    value: "NAME=VALUE,...",
    help: "What else describes this server in traces, such as deployment.environment.name=test.",
    read: keyValues,
    default: "",
    defaultHelp: "none",
  },
  otelTracesSampler: {
    flag: "otel-traces-sampler",
    variable: "OTEL_TRACES_SAMPLER",
    value: "SAMPLER",
    help: `The traces that are recorded: ${SAMPLERS.join(", ")}. With parentbased_ a caller's own choice counts.`,
    read: oneOf(...SAMPLERS),
    default: "parentbased_always_on",
  },
  otelTracesSamplerArg: {
    flag: "otel-traces-sampler-arg",
    variable: "OTEL_TRACES_SAMPLER_ARG",
    value: "PART",
    help: "The part of all traces that a sampler by traceidratio records, from 0 to 1.",
    read: ratio,
    default: "1",
  },
} as const satisfies OptionTable;

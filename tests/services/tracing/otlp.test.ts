import { describe, expect, test } from "bun:test";
import { callersTrace } from "../../../lib/domain/tracing/trace-context.ts";
import type { SamplerName } from "../../../lib/domain/tracing/samplers.ts";
import { Otlp } from "../../../lib/services/tracing/otlp.ts";
import type { Span } from "../../../lib/services/tracing/span.ts";
import { messageOf } from "../../../lib/domain/errors.ts";
import { scratchDirectory } from "../../store/sqlite/support/stores.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { Collector } from "../support/collector.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";

function otlpTo(url: string, sampler: SamplerName = "parentbased_always_on", sampler_arg = 1): Otlp {
  const resource = { "host.name": "here" };
  return new Otlp({
    url: `${url}/v1/traces`,
    headers: { "x-key": "secret" },
    service_name: "s",
    resource,
    sampler,
    sampler_arg,
  });
}

const SPAN: Span = {
  name: "run",
  kind: "internal",
  trace_id: TRACE,
  trace_flags: 1,
  tracestate: "vendor=1,b=2",
  span_id: CALLER,
  parent_span_id: "b7ad6b7169203331",
  is_parent_remote: false,
  began: Date.UTC(2026, 0, 31, 12) + 0.001,
  ended: Date.UTC(2026, 0, 31, 12) + 1_250.75,
  attributes: { "process.exit.code": 3, "slipway.cpu_ms": 1.5, "faas.coldstart": false },
  has_failed: true,
};

test("spans arrive as they are", async () => {
  await using collector = new Collector();
  await otlpTo(collector.url).send([SPAN]);
  const noon = BigInt(Date.UTC(2026, 0, 31, 12)) * 1_000_000n;
  expect(collector.spans).toEqual([
    {
      trace: TRACE,
      id: CALLER,
      parent: "b7ad6b7169203331",
      name: "run",
      kind: 1,
      start: noon + 1_000n,
      end: noon + 1_250_750_000n,
      state: "vendor=1,b=2",
      attributes: { "process.exit.code": "3", "slipway.cpu_ms": 1.5, "faas.coldstart": false },
      status: 2,
    },
  ]);
  expect(collector.resources[0]).toMatchObject({
    "service.name": "s",
    "host.name": "here",
    "telemetry.sdk.name": "opentelemetry",
  });
  expect(collector.headers[0]?.get("x-key")).toBe("secret");
});

test("a collector that refuses them is an error", async () => {
  await using collector = new Collector();
  collector.answer = () => new Response("no", { status: 400 });
  expect(await otlpTo(collector.url).send([SPAN]).catch(messageOf)).toMatch(/400|Bad Request/);
});

test("a collector behind TLS must have a certificate that is trusted, by default or by its variable", async () => {
  using scratch = scratchDirectory();
  await makeCertificate(scratch.path, "collector");
  const [cert, key] = await Promise.all(["pem", "key"].map((end) => Bun.file(scratch.file(`collector.${end}`)).text()));
  await using collector = new Collector({ cert: cert ?? "", key: key ?? "" });
  const send = (variables: Record<string, string>): Promise<void> => {
    Object.assign(process.env, variables);
    try {
      return otlpTo(collector.url).send([SPAN]);
    } finally {
      for (const name of Object.keys(variables)) Reflect.deleteProperty(process.env, name);
    }
  };
  // Less than its pause before it tries again.
  expect(await send({ OTEL_EXPORTER_OTLP_TIMEOUT: "700" }).catch(messageOf)).toMatch(/certificate/);
  expect(collector.spans).toEqual([]);
  await send({ OTEL_EXPORTER_OTLP_CERTIFICATE: scratch.file("collector.pem") });
  expect(collector.spans).toHaveLength(1);
});

describe("samplers", () => {
  const caller = (flags: string) => callersTrace({ traceparent: `00-${TRACE}-${CALLER}-${flags}` });
  test.each<[SamplerName, number, readonly [root: boolean, sampled: boolean, not: boolean]]>([
    ["always_on", 1, [true, true, true]],
    ["always_off", 1, [false, false, false]],
    ["traceidratio", 1, [true, true, true]],
    ["traceidratio", 0, [false, false, false]],
    ["parentbased_always_on", 1, [true, true, false]],
    ["parentbased_always_off", 1, [false, true, false]],
    ["parentbased_traceidratio", 0, [false, true, false]],
    ["parentbased_traceidratio", 1, [true, true, false]],
  ])("%s with %d", (sampler, arg, expected) => {
    const otlp = otlpTo("http://127.0.0.1:1", sampler, arg);
    expect([otlp.samples(TRACE), otlp.samples(TRACE, caller("01")), otlp.samples(TRACE, caller("00"))]).toEqual([
      ...expected,
    ]);
  });

  test("traceidratio takes about the part that it is told, and each trace always or never", () => {
    const otlp = otlpTo("http://127.0.0.1:1", "traceidratio", 0.25);
    const ids = Array.from({ length: 4_000 }, () => Bun.randomUUIDv7().replaceAll("-", ""));
    const taken = ids.filter((id) => otlp.samples(id));
    expect(taken.length / ids.length).toBeGreaterThan(0.2);
    expect(taken.length / ids.length).toBeLessThan(0.3);
    expect(taken.every((id) => otlp.samples(id))).toBe(true);
  });
});

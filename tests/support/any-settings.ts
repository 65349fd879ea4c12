import fc from "fast-check";
import { CONTRACTS, IDLES, OUTPUTS } from "../../lib/domain/functions/contract.ts";
import { ISOLATIONS } from "../../lib/domain/functions/isolation.ts";
import { checkSettings } from "../../lib/domain/functions/rules.ts";
import { SANDBOXES, SETTING_DEFAULTS, type Settings } from "../../lib/domain/functions/settings.ts";
import { CONTEXT_SIZE, CPUS, MEMORY_BYTES, NOFILE, PIDS, SCRATCH_SIZE } from "../../lib/domain/limits.ts";

const words = fc.option(fc.array(fc.string({ minLength: 1 }), { maxLength: 4 }));
const count = (max: number) => fc.integer({ min: 0, max });

const anyVolume = fc.record({
  name: fc.constantFrom("models", "cache"),
  path: fc.constantFrom("/models", "/cache", "/data/models", "/data", "/var/lib/x", "/tmp/x", "relative"),
  read_only: fc.boolean(),
});

/** Generates settings that the schema and the rules allow. */
export const anySettings: fc.Arbitrary<Settings> = fc
  .record(
    {
      entrypoint: words,
      command: words,
      user: fc.option(fc.constantFrom("1000", "1000:0", "nobody", "root", "0", "www-data:100")),
      working_dir: fc.option(fc.constantFrom("/", "/app", "/.slipway", "/sys")),
      contract: fc.constantFrom(...CONTRACTS),
      content_type: fc.option(fc.constantFrom("text/plain", "text/html; charset=utf-8", "image/svg+xml", "nonsense")),
      output: fc.constantFrom(...OUTPUTS),
      stream: fc.constantFrom(false, false, true),
      port: fc.option(fc.integer({ min: 1, max: 65_535 }), { freq: 1 }),
      ready_path: fc.option(fc.constantFrom("/healthz", "/?ready", "nonsense"), { freq: 1 }),
      boot_timeout_ms: fc.constantFrom(60_000, 60_000, 5_000),
      concurrency: fc.constantFrom(1, 1, 8),
      idle_timeout_ms: fc.option(fc.integer({ min: 100, max: 86_400_000 }), { freq: 1 }),
      idle: fc.option(fc.constantFrom(...IDLES), { freq: 1 }),
      buffer_request: fc.constantFrom(false, false, true),
      timeout_ms: fc.integer({ min: 100, max: 900_000 }),
      memory_bytes: fc.integer({ min: MEMORY_BYTES.min, max: MEMORY_BYTES.max }),
      cpus: fc.double({ min: CPUS.min, max: CPUS.max, noNaN: true }),
      pids: fc.integer({ min: PIDS.min, max: PIDS.max }),
      nofile: fc.option(fc.integer({ min: NOFILE.min, max: NOFILE.max })),
      context_bytes: fc.option(fc.integer({ min: CONTEXT_SIZE.min, max: CONTEXT_SIZE.max })),
      scratch_bytes: fc.option(fc.integer({ min: SCRATCH_SIZE.min, max: SCRATCH_SIZE.max }), { freq: 1 }),
      log_bytes: fc.option(count(4_194_304)),
      network: fc.oneof(
        fc.constantFrom("bridge", "isolated", "none", "host", "container:x"),
        fc.string({ minLength: 1 }),
      ),
      share_network: fc.boolean(),
      sandbox: fc.constantFrom(...SANDBOXES),
      runtime: fc.option(fc.constantFrom("runc", "runsc")),
      read_only: fc.boolean(),
      volumes: fc.array(anyVolume, { maxLength: 3 }),
      labels: fc.dictionary(fc.string(), fc.string()),
      isolation: fc.constantFrom(...ISOLATIONS),
      max_calls: fc.oneof(fc.constant(1), count(1_000_000)),
      max_concurrency: count(10_000),
      warm_min: count(1_000),
      warm_max: count(1_000),
      idle_ttl_ms: fc.integer({ min: 1_000, max: 604_800_000 }),
    },
    { requiredKeys: [] },
  )
  // A server has a port, whether it was given or not.
  .map((some) =>
    some.contract === "http" ? { ...some, port: some.port ?? 8080, isolation: "container" as const } : some,
  )
  .map((some) => (some.contract === "lambda" ? { ...some, isolation: "container" as const } : some))
  .map((some): Settings => ({ ...SETTING_DEFAULTS, ...some }))
  .filter((settings) => {
    try {
      checkSettings(settings);
      return true;
    } catch {
      return false;
    }
  });

import type { Invocation } from "../../domain/calls/invocations.ts";
import { duration } from "../format/numbers.ts";

type Timed = Pick<Invocation, "queue_ms" | "start_ms" | "boot_ms" | "run_ms" | "start">;

const PARTS = [
  ["queue", "waiting for a place among the running instances"],
  ["start", "waiting for an instance"],
  ["boot", "the function's own start"],
  ["run", "the function at work"],
] as const;

/** The parts of the time of a call: a bar in proportion, with its figures below. */
export function TimingBar({ record }: { readonly record: Timed }) {
  const parts = partsOf(record);
  const total = parts.reduce((sum, { ms }) => sum + ms, 0);
  if (parts.length === 0) return <p class="quiet">It has not run, so there are no times.</p>;
  const words = parts.map(({ name, ms }) => `${name} ${duration(ms)}`).join(", ");
  return (
    <div class="timing">
      <div class="bar" role="img" aria-label={`Time: ${words}; in all ${duration(total)}`}>
        {parts.map(({ name, ms }) => (
          <span key={name} class={`part ${name}`} style={{ flexGrow: Math.max(ms, total / 200) }} />
        ))}
      </div>
      <dl>
        {parts.map(({ name, ms, meaning }) => (
          <div key={name} title={meaning}>
            <dt>
              <span class={`part ${name}`} aria-hidden="true" />
              {name}
            </dt>
            <dd>{duration(ms)}</dd>
          </div>
        ))}
        <div>
          <dt>total</dt>
          <dd>{duration(total)}</dd>
        </div>
      </dl>
    </div>
  );
}

/** The boot of a function is a part of the wait for an instance that was started for the call. */
function partsOf({ queue_ms, start_ms, boot_ms, run_ms, start }: Timed) {
  const boot = start === "cold" ? (boot_ms ?? 0) : 0;
  const times = {
    queue: queue_ms,
    start: start_ms === null ? null : Math.max(0, start_ms - boot),
    boot: boot === 0 ? null : boot,
    run: run_ms,
  };
  return PARTS.flatMap(([name, meaning]) => {
    const ms = times[name];
    return ms === null ? [] : [{ name, meaning, ms }];
  });
}

import { percent } from "../format/numbers.ts";

/** The used part of something that is limited: a bar, and both numbers. */
export function Budget({
  name,
  used,
  limit,
  format,
  note,
}: {
  readonly name: string;
  readonly used: number;
  readonly limit: number;
  readonly format: (value: number) => string;
  readonly note: string;
}) {
  const ratio = limit === 0 ? 0 : Math.min(1, used / limit);
  const words = `${format(used)} of ${format(limit)}`;
  const tone = ratio >= 0.95 ? "full" : ratio >= 0.75 ? "high" : "";
  return (
    <div class="budget">
      <div class="head">
        <span>{name}</span>
        <span>
          {words} <span class="quiet">({percent(ratio)})</span>
        </span>
      </div>
      <div
        class="track"
        role="meter"
        aria-label={name}
        aria-valuemin={0}
        aria-valuemax={limit}
        aria-valuenow={Math.min(used, limit)}
        aria-valuetext={words}
      >
        <div class={`taken ${tone}`} style={{ width: `${ratio * 100}%` }} />
      </div>
      <div class="quiet note">{note}</div>
    </div>
  );
}

const RANGES = { hour: 3_600_000, day: 86_400_000, week: 604_800_000 } as const;

/** The span of time that figures and charts show. */
export type Range = keyof typeof RANGES;

/** Returns the length of a range in milliseconds. */
export function lengthOf(range: Range): number {
  return RANGES[range];
}

/** Chooses how far back figures and charts go. */
export function RangeChoice({ range, onChange }: { readonly range: Range; readonly onChange: (range: Range) => void }) {
  return (
    <div class="choice" role="group" aria-label="Time range">
      {(["hour", "day", "week"] as const).map((one) => (
        <button key={one} type="button" aria-pressed={one === range} onClick={() => onChange(one)}>
          {one[0]?.toUpperCase()}
          {one.slice(1)}
        </button>
      ))}
    </div>
  );
}

import type { ReceivedSpan } from "./collector.ts";

/** Returns the spans of a trace with what is below each: `name(name name)`, in the order of their starts, callbacks last. */
export function treeOf(spans: readonly ReceivedSpan[], parent: string): string {
  const below = spans
    .filter((span) => span.parent === parent)
    .toSorted((a, b) => Number(a.name === "callback") - Number(b.name === "callback") || Number(a.start - b.start));
  return below
    .map((span) => {
      const inner = treeOf(spans, span.id);
      return inner === "" ? span.name : `${span.name}(${inner})`;
    })
    .join(" ");
}

/** The kind of a span of a request that came to the server, in OpenTelemetry's protobuf. */
const SERVER = 2;

/**
 * Returns the names of the spans that are not within the time of their parents, except those that come after them. The call of a
 * function by another one only begins there: its own end is a moment after its answer, when the other one may have ended, too.
 */
export function outside(spans: readonly ReceivedSpan[]): string[] {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const isInside = ({ name, kind, parent, start, end }: ReceivedSpan) => {
    const around = byId.get(parent);
    if (around === undefined || name === "callback" || around.kind === 5) return start <= end;
    return around.start <= start && start <= end && (kind === SERVER || end <= around.end);
  };
  return spans.filter((span) => !isInside(span)).map(({ name }) => name);
}

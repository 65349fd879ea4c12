import type { ComponentChildren } from "preact";

/** A name and a value; a long value has a line of its own. */
type Fact = readonly [name: string, value: ComponentChildren, isLong?: boolean];

/** A list of facts. Those without a value are left out. */
export function Facts({ facts }: { readonly facts: readonly Fact[] }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <dl class="facts">
      {known.map(([name, value, isLong = false]) => (
        <div key={name} class={isLong ? "long" : ""}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A figure with its name, large. */
export function Figure({
  name,
  value,
  note,
  tone = "plain",
}: {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly note?: ComponentChildren;
  readonly tone?: "plain" | "bad" | "good" | "warn";
}) {
  return (
    <div class={`figure ${tone}`}>
      <div class="name">{name}</div>
      <div class="value">{value}</div>
      {note === undefined ? null : <div class="note">{note}</div>}
    </div>
  );
}

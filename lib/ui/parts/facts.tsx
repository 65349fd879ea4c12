import type { ComponentChildren } from "preact";

/** A list of facts: a name and a value each. Those without a value are left out. */
export function Facts({ facts }: { readonly facts: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <dl class="facts">
      {known.map(([name, value]) => (
        <div key={name}>
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

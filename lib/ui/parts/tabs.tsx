import { Link } from "wouter-preact";

/** Parts of a page as links, of which one is open. */
export function Tabs({
  label,
  path,
  tabs,
  current,
}: {
  readonly label: string;
  readonly path: (tab: string) => string;
  readonly tabs: readonly (readonly [id: string, name: string])[];
  readonly current: string;
}) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(([id, name]) => (
        <Link key={id} href={path(id)} aria-current={id === current ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

/** A page with its heading, which also becomes the title of the window. */
export function Page({
  title,
  above,
  actions,
  children,
}: {
  readonly title: string;
  /** A link to the list that the page belongs to. */
  readonly above?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${title} - Slipway`;
  }, [title]);
  return (
    <>
      <div class="head">
        <div>
          {above === undefined ? null : <div class="above">{above}</div>}
          <h1>{title}</h1>
        </div>
        {actions === undefined ? null : <div class="actions">{actions}</div>}
      </div>
      {children}
    </>
  );
}

/** A part of a page under a heading of its own. */
export function Section({
  title,
  actions,
  children,
}: {
  readonly title: string;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  return (
    <section aria-label={title}>
      <div class="head">
        <h2>{title}</h2>
        {actions === undefined ? null : <div class="actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

import { useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import type { ChangedFunction } from "../../../domain/functions/functions.ts";
import { functionPath, nameOf } from "../../data/functions.ts";
import { Page } from "../../parts/page.tsx";
import { FunctionForm } from "./function-form.tsx";
import { Warnings } from "./warnings.tsx";

/** A form for a new function from an image. */
export function DeployPage() {
  const [, navigate] = useLocation();
  const [saved, setSaved] = useState<ChangedFunction>();
  const finish = (fn: ChangedFunction) => {
    // An error is read here; otherwise the function's own page is next.
    if ((fn.warnings ?? []).length > 0) setSaved(fn);
    else navigate(functionPath(fn.name ?? fn.id));
  };
  return (
    <Page title="Deploy an image" above={<Link href="/functions">Functions</Link>}>
      {saved === undefined ? (
        <>
          <p class="quiet">
            Any image that an engine can run. From a folder with code, <code>slipway deploy</code> makes the image, too;{" "}
            <a href="/docs/functions">the manual</a> says more.
          </p>
          <FunctionForm onSaved={finish} />
        </>
      ) : (
        <>
          <Warnings fn={saved} />
          <p>
            <Link href={functionPath(saved.name ?? saved.id)}>Go to {nameOf(saved)}</Link>
          </p>
        </>
      )}
    </Page>
  );
}

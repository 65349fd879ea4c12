import { useState } from "preact/hooks";
import type { ChangedFunction, Function } from "../../../domain/functions/functions.ts";
import { Done } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { FunctionForm } from "../deploy/function-form.tsx";
import { Warnings } from "../deploy/warnings.tsx";

/** A form with a function as it is, for a new version of it. */
export function Change({ fn, onChange }: { readonly fn: Function; readonly onChange: () => void }) {
  const [saved, setSaved] = useState<ChangedFunction>();
  return (
    <Section title="New version">
      <p class="quiet">What you change makes a new version. Running calls are not affected.</p>
      <FunctionForm
        fn={fn}
        onSaved={(after) => {
          setSaved(after);
          onChange();
        }}
      />
      <Done>{saved === undefined ? undefined : `The function is at version ${saved.version} now.`}</Done>
      {saved === undefined ? null : <Warnings fn={saved} />}
    </Section>
  );
}

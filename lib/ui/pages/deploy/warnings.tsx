import type { ChangedFunction } from "../../../domain/functions/functions.ts";

/** The reasons why a function that was saved would not serve a call as it is. */
export function Warnings({ fn: { warnings = [] } }: { readonly fn: ChangedFunction }) {
  if (warnings.length === 0) return null;
  return (
    <div class="notice bad" role="alert">
      <strong>Saved, and there is a problem</strong>
      {warnings.map((warning) => (
        <p key={warning}>{warning}</p>
      ))}
    </div>
  );
}

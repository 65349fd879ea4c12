import { expect, test } from "bun:test";
import fc from "fast-check";
import { isFinal, nextState, type WorkEvent, type WorkState } from "../../../lib/domain/calls/states.ts";

const events: readonly WorkEvent[] = ["claim", "succeed", "retry", "give_up", "lose", "cancel"];

test("nextState: final states stay, and only a claimed attempt can succeed or die", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...events), { maxLength: 50 }), (history) => {
      let state: WorkState = "queued";
      let claimed = false;
      for (const event of history) {
        const next = nextState(state, event);
        if (isFinal(state)) expect(next).toBeUndefined();
        if (next === "succeeded" || next === "dead") expect(claimed).toBe(true);
        if (next === "running") expect(state).toBe("queued");
        claimed = next === undefined ? claimed : next === "running";
        state = next ?? state;
      }
    }),
  );
});

test("nextState: every state but the final ones can come to an end", () => {
  for (const state of ["queued", "running"] as const) expect(nextState(state, "cancel")).toBe("cancelled");
  for (const state of ["succeeded", "dead", "cancelled"] as const) expect(isFinal(state)).toBe(true);
});

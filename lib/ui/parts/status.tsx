/** The colour of a word: good, bad, in between, or nothing to say. */
type Tone = "good" | "bad" | "warn" | "busy" | "plain";

const TONES: Readonly<Record<string, Tone>> = {
  succeeded: "good",
  delivered: "good",
  ok: "good",
  active: "good",
  ready: "good",
  running: "busy",
  starting: "busy",
  queued: "warn",
  waiting: "warn",
  paused: "warn",
  cancelled: "plain",
  expired: "plain",
  revoked: "plain",
  change: "plain",
  failed: "bad",
  timed_out: "bad",
  dead: "bad",
  lost: "bad",
  away: "bad",
  refused_key: "bad",
};

/** A state, by its word and a colour. */
export function Status({ value, tone }: { readonly value: string; readonly tone?: Tone }) {
  return <span class={`status ${tone ?? TONES[value] ?? "plain"}`}>{value.replaceAll("_", " ")}</span>;
}

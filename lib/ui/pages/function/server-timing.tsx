import { TimingBar } from "../../parts/timing-bar.tsx";

/** The parts of the time of a call, from the `Server-Timing` of its answer. */
export function ServerTiming({ header }: { readonly header: string }) {
  const parts = header.split(",").map((part) => part.split(";").map((field) => field.trim()));
  const milliseconds = (name: string): number | null => {
    const fields = parts.find(([first]) => first === name);
    const text = fields?.find((field) => field.startsWith("dur="))?.slice("dur=".length);
    return text === undefined ? null : Number(text);
  };
  const isCold = parts.some((fields) => fields.includes("desc=cold"));
  return (
    <TimingBar
      record={{
        queue_ms: milliseconds("queue"),
        start_ms: milliseconds("start"),
        boot_ms: milliseconds("boot"),
        run_ms: milliseconds("run"),
        start: isCold ? "cold" : "warm",
      }}
    />
  );
}

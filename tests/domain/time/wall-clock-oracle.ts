import fc from "fast-check";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The time that the clocks of a zone show from some moment on, minute by minute, as if that were UTC. */
export interface Window {
  readonly zone: string;
  readonly from: number;
  readonly shown: readonly number[];
}

/** A cron expression of five fields, and the values that its fields stand for; null if a field leaves all open. */
export interface Expression {
  readonly text: string;
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number> | null;
  readonly weekdays: ReadonlySet<number> | null;
}

/** Returns a reader of a zone's clock, which formats every moment on its own: it knows nothing about changes. */
export function reader(zone: string): (moment: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  return (moment) => {
    const [month, day, year, hour, minute, second] = format.format(moment).match(/\d+/g)?.map(Number) ?? [];
    return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);
  };
}

/** Returns two days around every change of a zone's clocks in that span. */
export function changes(zone: string, from: number, until: number): Window[] {
  const read = reader(zone);
  const offset = (moment: number) => read(moment) - moment;
  const found: Window[] = [];
  // Two changes within a week are not to be found in these years.
  for (let start = from; start < until; start += 5 * DAY) {
    let [before, after] = [start, start + 5 * DAY];
    if (offset(before) === offset(after)) continue;
    while (after - before > HOUR) {
      const middle = before + Math.floor((after - before) / HOUR / 2) * HOUR;
      if (offset(middle) === offset(before)) before = middle;
      else after = middle;
    }
    found.push(windowAt(zone, after - DAY, 2 * DAY));
  }
  return found;
}

/** Reads a zone's clock for every minute of a span. Every hour that it does not pass as usual is read by the minute. */
export function windowAt(zone: string, from: number, ms: number): Window {
  const read = reader(zone);
  const shown: number[] = [];
  for (let hour = from; hour < from + ms; hour += HOUR) {
    const first = read(hour);
    const isUsual = read(hour + HOUR) - first === HOUR;
    for (let at = 0; at < HOUR; at += MINUTE) shown.push(isUsual ? first + at : read(hour + at));
  }
  return { zone, from, shown };
}

/** Walks through a window minute by minute, as a person with a list and an eye on the clock would, and says when it is time. */
export function timesIn({ from, shown }: Window, expression: Expression): number[] {
  const isEveryHour = expression.hours.size === 24;
  let furthest = (shown[0] ?? 0) - MINUTE;
  return shown.flatMap((reading, minute) => {
    let isTime = false;
    if (isEveryHour) isTime = matches(expression, reading);
    // Every reading up to this one that was not shown before.
    else for (let each = furthest + MINUTE; each <= reading; each += MINUTE) isTime ||= matches(expression, each);
    furthest = Math.max(furthest, reading);
    return isTime ? [from + minute * MINUTE] : [];
  });
}

function matches({ minutes, hours, days, weekdays }: Expression, reading: number): boolean {
  const date = new Date(reading);
  if (!minutes.has(date.getUTCMinutes()) || !hours.has(date.getUTCHours())) return false;
  const [day, weekday] = [days?.has(date.getUTCDate()), weekdays?.has(date.getUTCDay())];
  // If both are given, one of them is enough.
  return day === undefined ? weekday !== false : day || weekday === true;
}

interface Field {
  readonly text: string;
  readonly values: ReadonlySet<number>;
}

/** Values, lists, ranges and steps of a field; up to `among`, if not up to its last value. */
function field(min: number, last: number, among = last): fc.Arbitrary<Field> {
  const value = fc.integer({ min, max: among });
  const range = fc.tuple(value, value).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  const stepped = (from: number, to: number, step: number) =>
    new Set(Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step));
  const step = fc.integer({ min: 2, max: last - min });
  return fc.oneof(
    value.map((one) => ({ text: `${one}`, values: new Set([one]) })),
    fc.uniqueArray(value, { minLength: 2, maxLength: 4 }).map((list) => ({ text: list.join(), values: new Set(list) })),
    range.map(([from, to]) => ({ text: `${from}-${to}`, values: stepped(from, to, 1) })),
    step.map((by) => ({ text: `*/${by}`, values: stepped(min, last, by) })),
    fc
      .tuple(range, step)
      .filter(([[from, to], by]) => by <= to - from)
      .map(([[from, to], by]) => ({ text: `${from}-${to}/${by}`, values: stepped(from, to, by) })),
  );
}

const all = (max: number): Field => ({ text: "*", values: new Set(Array.from({ length: max + 1 }, (_, i) => i)) });
const open = fc.constant(undefined);

/** Cron expressions of all forms. Small hours come often: that is when clocks change. */
export const expressions: fc.Arbitrary<Expression> = fc
  .record({
    minute: fc.oneof(fc.constant(all(59)), field(0, 59)),
    hour: fc.oneof(fc.constant(all(23)), field(0, 23), field(0, 23, 4)),
    day: fc.oneof(open, open, field(1, 31)),
    weekday: fc.oneof(open, open, field(0, 6)),
  })
  .map(({ minute, hour, day, weekday }) => ({
    text: `${minute.text} ${hour.text} ${day?.text ?? "*"} * ${weekday?.text ?? "*"}`,
    minutes: minute.values,
    hours: hour.values,
    days: day?.values ?? null,
    weekdays: weekday?.values ?? null,
  }));

import type { TestServer } from "../../support/server.ts";
import type { Named } from "../pool/pools.ts";

/** The report of the image `probe`: the result of each look and each attempt by its name. */
export type View = ReadonlyMap<string, string>;

/** Calls the image `probe`. A name that it reports again, such as a second mount at one path, gets a number. */
export async function probe(server: TestServer, fn: Named, command: string): Promise<View> {
  const response = await server.invoke(fn, { do: command });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${command}: ${response.status} ${text.slice(0, 1000)}`);
  const entries = JSON.parse(text) as readonly (readonly [string, string])[]; // the fixture's answer
  const view = new Map<string, string>();
  for (const [name, result] of entries) {
    let key = name;
    for (let count = 2; view.has(key); count++) key = `${name} #${count}`;
    view.set(key, result);
  }
  return view;
}

/** Lines of `/proc/PID/status` that count or number what is different in each run. */
const COUNTED =
  /^(?:parent's )?status: (?:Tgid|Pid|PPid|NS\w+|Vm\w+|Rss\w+|SigQ|FDSize|\w+_ctxt_switches|State|Ngid)(?: #\d+)?$/;

/** Other results that depend on what else happens on the machine. */
const UNSTABLE = /^(?:\/proc\/self\/autogroup|\/proc\/key-users|file \/proc\/locks)$/;

/** Replaces what is unique to a container, a call or an engine by a word, and drops what is different in each run. */
export function normal(view: View): View {
  const host = view.get("/proc/sys/kernel/hostname")?.trim() || "no name";
  const plain = (text: string): string =>
    text
      .replaceAll(/lowerdir=[^,\n ]*,upperdir=[^,\n ]*,workdir=[^,\n ]*/g, "<layers>")
      .replaceAll(/[0-9a-f]{64}/g, "<id>")
      .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>")
      .replaceAll(host, "<host>")
      .replaceAll(/\d+\.\d+\.\d+\.\d+(?=\s+<host>)/g, "<address>");
  const kept = [...view].filter(([name]) => !COUNTED.test(name) && !UNSTABLE.test(name));
  return new Map(kept.map(([name, result]) => [plain(name), plain(result)]));
}

/** A result that is not the same in two views; "-" where one does not have it. */
export interface Difference {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** Returns all results that are not the same in two views. */
export function differences(before: View, after: View): readonly Difference[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  const pairs = [...names].map((name) => ({ name, before: before.get(name) ?? "-", after: after.get(name) ?? "-" }));
  return pairs.filter((pair) => pair.before !== pair.after);
}

/** Returns how often a result says that something was allowed; the parts of one that tries several things count alone. */
function allowed(result: string): readonly boolean[] {
  return result.split(", ").map((part) => /(?:^| )(?:ok|OUTSIDE|another)$/.test(part));
}

/** Returns whether something is allowed after that was refused before. */
export function isWeaker({ before, after }: Difference): boolean {
  const had = allowed(before);
  return allowed(after).some((now, index) => now && !had[index]);
}

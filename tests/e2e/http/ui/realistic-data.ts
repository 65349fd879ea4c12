import { systemClock } from "../../../../lib/clock.ts";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath, openSqliteStore } from "../../../../lib/store/sqlite/store.ts";
import type { Store } from "../../../../lib/store/store.ts";
import { claimNext, newWork, success } from "../../../store/contract/records.ts";
import { listeningLog, someFunction, someInvocation } from "../../../store/sqlite/support/stores.ts";

const FUNCTIONS = 30;
const CALLS = 400;
/** Calls are spread over this time before now, in milliseconds. */
const SPAN_MS = 24 * 3_600_000;
const MINUTE_MS = 60_000;
const WORDS = ["checkout", "invoice", "thumbnail", "export", "webhook", "search", "mail", "report", "import", "sync"];
const LONGEST = "a-function-with-the-longest-name-that-there-can-be-of-63-letters";
const CONTRACTS = ["files", "stdio", "http"] as const;

/** Ends of calls as they happen: most succeed. */
const ENDS: readonly Partial<Invocation>[] = [
  ...Array.from({ length: 12 }, () => ({ start: "warm" as const, start_ms: 0.4, exit_code: 0 })),
  { start: "cold", start_ms: 212, exit_code: 0 },
  {
    status: "failed",
    reason: "function_failed",
    exit_code: 3,
    message: "The function exited with code 3 and wrote no response: see its logs",
  },
  { status: "timed_out", reason: "function_timeout", exit_code: null, message: "The function ran past its timeout" },
  { status: "cancelled", reason: "cancelled", exit_code: null, message: "The client went away" },
];

/** The ids of records that tests look at. */
export interface RealisticData {
  /** An asynchronous call with a request, an answer, an attempt, and a callback that nobody takes. */
  readonly parent: string;
  /** A call that the end of it caused, and that waits. */
  readonly follower: string;
  /** A synchronous call whose request was not kept. */
  readonly sync: string;
}

/** Fills the database of a server that does not run yet: no function is called, and no container started. */
export async function writeRealisticData(directory: string): Promise<RealisticData> {
  await using store = openSqliteStore(databasePath(directory), { log: listeningLog().log, clock: systemClock });
  const now = Date.now();
  const functions = Array.from({ length: FUNCTIONS }, (_, n) => functionOf(n, now));
  for (const fn of functions) await store.functions.insert(fn);
  const calls = Array.from({ length: CALLS }, (_, n) => callOf(n, functions, now));
  const logs = [{ stream: "stderr" as const, text: "warning: no card on file\n", time: timestamp(now) }];
  await store.history.save(calls.map((invocation) => ({ invocation, logs })));
  return { ...(await writeChain(store, functions, now)), sync: calls.at(-1)?.id ?? "" };
}

function functionOf(n: number, now: number): Function {
  const contract = CONTRACTS[n % CONTRACTS.length] ?? "files";
  const name = n === 0 ? LONGEST.slice(0, 63) : `${WORDS[n % WORDS.length]}-${WORDS[(n * 3 + 1) % WORDS.length]}-${n}`;
  return someFunction(Bun.randomUUIDv7("hex", now - SPAN_MS + n), {
    name,
    contract,
    image: `registry.example.com/team-${n % 4}/${name}:2026-11-${String(1 + (n % 28)).padStart(2, "0")}`,
    image_id: `sha256:${"0123456789abcdef".repeat(4)}`,
    isolation: n % 5 === 0 ? "cell" : "container",
    memory_bytes: ([64, 256, 512][n % 3] ?? 256) * 1024 ** 2,
    timeout_ms: [5_000, 30_000, 900_000][n % 3] ?? 30_000,
    environment: { REGION: "eu-central-1", GREETING: `Hello from ${name}` },
    created_at: timestamp(now - SPAN_MS),
    updated_at: timestamp(now - n * 7 * MINUTE_MS),
  });
}

/** Calls come closer together towards now, and take between 2 ms and some seconds. */
function callOf(n: number, functions: readonly Function[], now: number): Invocation {
  const age = SPAN_MS * (1 - (n + 1) / CALLS) ** 2 + 1_000;
  const run_ms = 2 + (n % 7) * 3.4 + (n % 41 === 0 ? 2_400 : 0);
  return someInvocation(Bun.randomUUIDv7("hex", now - age), {
    function_id: functions[n % 9]?.id ?? "",
    created_at: timestamp(now - age),
    finished_at: timestamp(now - age + run_ms + 1),
    run_ms,
    queue_ms: n % 13 === 0 ? 12.5 : 0.1,
    ...ENDS[n % ENDS.length],
  });
}

async function writeChain(store: Store, functions: readonly Function[], now: number) {
  const parent = Bun.randomUUIDv7("hex", now - 5_000);
  const follower = Bun.randomUUIDv7("hex", now - 4_000);
  const function_id = functions[1]?.id ?? "";
  // Port 9 of this machine: nobody listens, and nothing goes out.
  const work = newWork(parent, { at: now - 5_000, function_id, callback_url: "http://127.0.0.1:9/taken" });
  await store.ledger.submit({ ...work, request: { ...work.request, request: Buffer.from('{"order": 4711}') } });
  const claimed = await claimNext(store.ledger, function_id, { now, until: now + 30_000 });
  if (claimed === null) throw new Error("The work was not claimed");
  const next = newWork(follower, {
    at: now - 4_000,
    due: now + 3_600_000,
    function_id: functions[2]?.id ?? "",
    parent_id: parent,
    chain_depth: 1,
  });
  await store.ledger.end(success(claimed, [next], now - 4_000));
  return { parent, follower };
}

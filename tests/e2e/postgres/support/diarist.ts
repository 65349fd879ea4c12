import type { ContractName } from "../../../../lib/domain/functions/contract.ts";
import { END } from "../../faults/support/diary.ts";

/**
 * A program for each contract (the variable `CONTRACT`) whose calls keep a diary outside of their container, at a port of the test. The
 * first run of an invocation goes on until the diary asks for its end, whatever becomes of its caller; others, and those of a request that is
 * `brief`, end soon.
 */
const DIARIST = `
const { CONTRACT, CONTEXT_PATH, REQUEST_ID, BOOT_MS } = process.env;
const [, , route] = (await Bun.file("/proc/net/route").text()).split("\\n").find((line) => line.split("\\t")[1] === "00000000").split("\\t");
const hostname = [...Buffer.from(route, "hex")].reverse().join(".");
const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
async function run(id, { port, brief }) {
  const { promise: number, resolve: begun } = Promise.withResolvers();
  let asked = false, heard = "";
  const data = (_socket, bytes) => {
    heard += bytes;
    const lines = heard.split("\\n");
    if (lines.length > 1) begun(Number(lines[0]));
    asked ||= lines.includes("${END}");
  };
  const diary = await Bun.connect({ hostname, port, socket: { data } });
  diary.write("begin " + id + " 0 " + now() + "\\n");
  const waits = (await number) === 1 && !brief;
  for (let turns = 0; waits ? !asked : turns < 20; turns++) {
    await Bun.sleep(10);
    diary.write("alive " + now() + "\\n");
  }
  diary.write("end " + now() + "\\n");
  return JSON.stringify({ run: await number });
}
if (CONTRACT === "files") {
  const request = await Bun.file(CONTEXT_PATH + "/request.json").json();
  await Bun.write(CONTEXT_PATH + "/response.json", await run(REQUEST_ID, request));
  process.exit(0);
} else if (CONTRACT === "stdio") {
  console.log(await run(REQUEST_ID, await Bun.stdin.json()));
  process.exit(0);
} else if (CONTRACT === "http") {
  await Bun.sleep(Number(BOOT_MS));
  Bun.serve({ port: 8080, idleTimeout: 0, async fetch(request) {
    return new Response(await run(request.headers.get("x-request-id"), await request.json()));
  } });
} else {
  const api = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/invocation/";
  for (;;) {
    const next = await fetch(api + "next");
    const id = next.headers.get("lambda-runtime-aws-request-id");
    await fetch(api + id + "/response", { method: "POST", body: await run(id, await next.json()) });
  }
}
`;

/** Returns the settings of a function of that program, which takes so many milliseconds to boot with the contract `http`. */
export function diarist(contract: ContractName, boot_ms: number) {
  return {
    contract,
    command: ["bun", "-e", DIARIST],
    environment: { CONTRACT: contract, BOOT_MS: String(boot_ms) },
  };
}

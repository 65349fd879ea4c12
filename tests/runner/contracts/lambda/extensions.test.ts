import { expect, test } from "bun:test";
import { scratchDirectory } from "../../../store/sqlite/support/stores.ts";
import { LambdaInstance } from "./lambda-instance.ts";

/** Words for programs in sh: `register NAME EVENTS`, `ask` for an event, which is then in $event, and `report KIND TYPE`. */
const WORDS = `
api="http://$AWS_LAMBDA_RUNTIME_API"
id=none
call() { curl -sS -o /dev/stdout -w ' %{http_code}\\n' "$@"; }
register() {
  curl -sS -D - "$api/2020-01-01/extension/register" -H "Lambda-Extension-Name: $1" -d "{\\"events\\":[$2]}" > /opt/$1.head
  id="$(sed -n 's/^Lambda-Extension-Identifier: *\\([^[:space:]]*\\).*/\\1/p' /opt/$1.head)"
}
ask() { event="$(curl -sS "$api/2020-01-01/extension/event/next" -H "Lambda-Extension-Identifier: $id")"; }
report() {
  curl -sS -o /dev/null "$api/2020-01-01/extension/$1/error" -d '{"errorMessage":"no key"}' -H "Lambda-Extension-Identifier: $id" \\
    -H "Lambda-Extension-Function-Error-Type: $2"
}
`;
const INVOKE = '"INVOKE"';
const BOTH = '"INVOKE","SHUTDOWN"';
/** A runtime in sh that answers with the event; \`$before\` comes before its first request. */
function runtime(before = ""): string[] {
  const program = `
    next="$api/2018-06-01/runtime/invocation"
    ${before}
    while :; do
      event="$(curl -sS -D /opt/runtime.head "$next/next")"
      request="$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\\([^[:space:]]*\\).*/\\1/p' /opt/runtime.head)"
      curl -sS -o /dev/null -d "$event" "$next/$request/response"
    done`;
  return ["sh", "-c", WORDS + program];
}

/** An extension that registers, says what it hears, and goes on. */
function listens(name: string, events: string, then = ""): string {
  return `${WORDS}register ${name} '${events}'; while ask; do echo "${name}: $event"; ${then}\ndone`;
}

function start(programs: Readonly<Record<string, string>>, command = runtime()): Promise<LambdaInstance> {
  return LambdaInstance.startBeside(programs, command);
}

test("the function starts when its extensions have registered, and has booted when all have asked", async () => {
  using scratch = scratchDirectory();
  const go = scratch.file("go");
  const late = `${WORDS}until [ -e "${go}" ]; do sleep 0.02; done; echo registers; register late '${INVOKE}'; sleep 0.2; echo asks; ask; ask`;
  await using instance = await start({ a: listens("a", INVOKE), late }, runtime("echo starts"));
  expect(instance.app.missing).toMatch(/^get ready, as its extension "(a|late)" did not register,$/);
  await Bun.write(go, "");
  await instance.ready();
  // What is printed may come after what is asked.
  await instance.gate.until(() => instance.gate.logs.split("\n").length > 3);
  expect(instance.gate.logs).toMatch(/^registers\n(starts\nasks|asks\nstarts)\n$/);
  expect(instance.app.missing).toBe("ask for its first call");
});

test("extensions are told of each call and of the end, and a call is over when they have asked again", async () => {
  const slow = listens("slow", BOTH, "sleep 0.3; echo slept");
  await using instance = await start({
    deaf: listens("deaf", ""),
    slow,
    ends: listens("ends", '"SHUTDOWN"', "exit 0"),
  });
  await instance.ready();
  const before = Date.now();
  const began = performance.now();
  const call = instance.call({ a: 1 });
  expect([await call.text(), await call.whole]).toEqual(['{"a":1}', undefined]);
  expect(await call.end).toBe("next");
  expect(performance.now() - began).toBeGreaterThan(300);
  await instance.gate.until(() => instance.gate.logs.endsWith("slept\n"));
  const [, told = ""] = /^slow: (.*)$/m.exec(instance.gate.logs) ?? [];
  const invoke: unknown = JSON.parse(told);
  expect(invoke).toEqual({
    eventType: "INVOKE",
    deadlineMs: expect.any(Number),
    requestId: "call-1",
    invokedFunctionArn: "arn:of:test",
    tracing: { type: "X-Amzn-Trace-Id", value: "Root=1" },
  });
  expect(Object(invoke).deadlineMs).toBeGreaterThanOrEqual(before + 30_000);
  const second = instance.call({ b: 2 }, "call-2");
  expect([await second.text(), await second.end]).toEqual(['{"b":2}', "next"]);
  // Of those that want to know of the end, by their places: "deaf", "ends", "slow".
  expect(instance.app.shutDown("spindown", 2_000)).toEqual([1, 2]);
  const shutdown = /^ends: {"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":\d+}$/m;
  await instance.gate.until(
    () => shutdown.test(instance.gate.logs) && instance.gate.logs.includes('slow: {"eventType":"SHUTDOWN'),
  );
  expect(instance.gate.logs).not.toContain("deaf:");
});

test("a call whose extension does not ask again is over after two seconds, and the last one", async () => {
  await using instance = await start({ a: listens("a", INVOKE, "sleep 60") });
  await instance.ready();
  const call = instance.call(1);
  expect([await call.text(), await call.end]).toEqual(["1", "last"]);
});

test.each([
  [
    "exits before it registers",
    "exit 3",
    "Extension.Crash",
    "exit status 3",
    'the extension "a" has ended: exit status 3',
  ],
  ["exits with 0", "exit 0", "Extension.Crash", "exit code 0", 'the extension "a" has ended: exit code 0'],
  ["is killed", "kill -9 $$", "Extension.Crash", "signal: killed", 'the extension "a" has ended: signal: killed'],
  [
    "registers and exits",
    `${WORDS}register a '${INVOKE}'; exit 1`,
    "Extension.Crash",
    "exit status 1",
    'the extension "a" has ended: exit status 1',
  ],
  [
    "reports that it cannot start",
    `${WORDS}register a '${INVOKE}'; report init Extension.NoKey; sleep 60`,
    "Extension.InitError",
    "Extension.NoKey: no key",
    'the extension "a" has reported Extension.NoKey: no key',
  ],
  [
    "reports an error and exits",
    `${WORDS}register a '${INVOKE}'; report exit Extension.NoKey; exit 2`,
    "Extension.ExitError",
    "exit status 2",
    'the extension "a" has ended: exit status 2, and had reported Extension.NoKey: no key',
  ],
])("an extension that %s keeps the function from starting", async (_name, program, errorType, what, message) => {
  await using instance = await start({ a: program });
  const failure = await instance.app.asks;
  expect(failure?.message).toBe(`${errorType}: ${message}`);
  expect(failure?.payload).toEqual({ errorType, errorMessage: `Error: ${what}` });
});

test("an extension that ends during a call ends it", async () => {
  const command = runtime().with(2, `${runtime()[2]?.replace("curl -sS -o /dev/null -d", "sleep 60; curl -d")}`);
  await using instance = await start({ a: listens("a", INVOKE, "exit 4") }, command);
  await instance.ready();
  const call = instance.call(1);
  const { status, reason, message, response } = await call.answer;
  expect({ status, reason, message, http: response.status }).toEqual({
    status: "failed",
    reason: "function_failed",
    message: 'The function has failed: Extension.Crash: the extension "a" has ended: exit status 4',
    http: 502,
  });
  expect(JSON.parse(await call.text())).toEqual({
    errorType: "Extension.Crash",
    errorMessage: "RequestId: call-1 Error: exit status 4",
  });
  expect(await call.end).toBe("last");
});

test("an adapter is an extension, and the runtime, too", async () => {
  const adapter = `${WORDS}register adapter ''; ( ask ) & ${(runtime("sleep 0.1")[2] ?? "").slice(WORDS.length)}`;
  await using instance = await start({ adapter }, ["sh", "-c", "echo a web server; sleep 100"]);
  await instance.ready();
  for (const id of ["call-1", "call-2"]) {
    const call = instance.call({ id }, id);
    expect([await call.text(), await call.end]).toEqual([`{"id":"${id}"}`, "next"]);
  }
  expect(instance.gate.logs).toBe("a web server\n");
});

test("requests of extensions that are wrong are refused in AWS's words, and change nothing", async () => {
  const extension = `${WORDS}
    ext="$api/2020-01-01/extension"
    call "$ext/register" -d '{}'
    call "$ext/register" -H 'Lambda-Extension-Name: a' -d 'no JSON'
    call "$ext/register" -H 'Lambda-Extension-Name: a' -d '{"events":["OTHER"]}'
    call "$ext/register" -H 'Lambda-Extension-Name: inner' -d '{"events":["SHUTDOWN"]}'
    call "$ext/event/next"
    call "$ext/event/next" -H 'Lambda-Extension-Identifier: none'
    call "$ext/event/next" -H 'Lambda-Extension-Identifier: 00000000-0000-4000-8000-000000000000'
    register a '${INVOKE}'
    call "$ext/register" -H 'Lambda-Extension-Name: a' -d '{}'
    call "$ext/init/error" -H "Lambda-Extension-Identifier: $id" -d '{}'
    call -X PUT "$ext/register"
    call "$ext/other"
    call -X PUT "$api/2020-08-15/logs" -d '{}'
    call -X PUT "$api/2022-07-01/telemetry" -d '{}'
    head -c 100000 /dev/zero | call "$ext/register" -H 'Lambda-Extension-Name: b' --data-binary @-
    for i in 1 2 3 4 5 6 7 8 9 10; do
      call "$ext/register" -H "Lambda-Extension-Name: inner$i" -H 'Lambda-Extension-Accept-Feature: accountId' -d '{}'
    done
    echo done
    ask; call "$ext/event/next" -H "Lambda-Extension-Identifier: $id"`;
  await using instance = await start({ a: extension }, ["sleep", "100"]);
  await instance.gate.until(() => instance.gate.logs.includes("done\n"));
  const lines = instance.gate.logs.trim().split("\n");
  const problem = (errorType: string, errorMessage: string) => JSON.stringify({ errorMessage, errorType });
  const texts = lines.filter((line) => line.startsWith("{"));
  expect(texts.slice(0, 9)).toEqual([
    problem("Extension.InvalidExtensionName", "Empty extension name"),
    problem("InvalidRequestFormat", "The body is not JSON"),
    problem("Extension.InvalidEventType", "OTHER: ErrorInvalidEventType"),
    problem("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"),
    problem("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
    problem("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
    problem("Extension.UnknownExtensionIdentifier", "Unknown extension 00000000-0000-4000-8000-000000000000"),
    problem(
      "Extension.InvalidExtensionState",
      "State transition from Registered to Registered failed for extension a. Error: State transition is not allowed",
    ),
    problem("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"),
  ]);
  const facts = { functionName: "tested", functionVersion: "3", handler: "app.handler", accountId: "000000000000" };
  expect(texts.slice(9)).toEqual([
    problem("MethodNotAllowed", "The Runtime API has no such method here"),
    problem("NotFound", "The Runtime API has no such path"),
    problem("Logs.NotSupported", "Logs API is not supported"),
    problem("Telemetry.NotSupported", "Telemetry API is not supported"),
    problem("RequestEntityTooLarge", "Exceeded maximum allowed payload size (65536 bytes)."),
    ...Array.from({ length: 9 }, () => JSON.stringify(facts)),
    problem("Extension.TooManyExtensions", "Extension limit (10) reached"),
  ]);
  expect(lines.flatMap((line) => (/^ ?\d+$/.test(line) ? [Number(line)] : []))).toEqual([
    ...Array.from({ length: 9 }, () => 403),
    405,
    404,
    202,
    202,
    413,
    ...Array.from({ length: 9 }, () => 200),
    403,
  ]);
});

test("an extension inside the function registers before the function asks for its first call, and not later", async () => {
  const inside = `register inside '${INVOKE}'; ( while ask; do echo "inside: $event"; done ) &`;
  const after = `curl -sS "$api/2020-01-01/extension/register" -H "Lambda-Extension-Name: late" -d '{}'`;
  const command = runtime(inside).with(2, `${runtime(inside)[2]?.replace("request=", `${after}; request=`)}`);
  await using instance = await LambdaInstance.startBeside({}, command);
  await instance.ready();
  const call = instance.call(1);
  expect([await call.text(), await call.end]).toEqual(["1", "next"]);
  const isPrinted = (text: string) => instance.gate.logs.includes(text);
  await instance.gate.until(() => isPrinted("inside: {") && isPrinted('"errorType":"Extension.RegistrationClosed"'));
});

import { expect, test } from "bun:test";
import { LAMBDA } from "../../../../lib/runner/contracts/lambda/lambda.ts";
import { LambdaApp } from "../../../../lib/runner/contracts/lambda/lambda-app.ts";
import type { InstanceStream, StreamReader } from "../../../../lib/runner/gate-protocol/instance-stream.ts";
import { plainRequest } from "../../../../lib/domain/calls/http-message.ts";
import { NO_SECRETS } from "../../../../lib/domain/secrets.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { someFunction } from "../../../store/sqlite/support/stores.ts";

const RUNTIME = "/2018-06-01/runtime";
const EXTENSION = "/2020-01-01/extension";

/** A connection of a program of the test. */
class FakeConnection implements InstanceStream {
  readonly #reader: StreamReader;
  /** All that it was sent. */
  got = "";
  sent = 0;
  received = 0;

  constructor(app: LambdaApp) {
    this.#reader = app.accept(this);
  }

  /** Asks for something, with headers that end in a line break each, and as much of a body as there is by now. */
  ask(request: string, headers = "", body = ""): this {
    return this.say(`${request} HTTP/1.1\r\n${headers}\r\n${body}`);
  }

  say(text: string): this {
    this.received += text.length;
    this.#reader.onBytes(Buffer.from(text, "latin1"));
    return this;
  }

  leave(): void {
    this.#reader.onReset({ errno: 104, delivered: false });
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d+)/.exec(this.got)?.[1]);
  }

  write(bytes: Uint8Array): boolean {
    this.sent += bytes.length;
    this.got += Buffer.from(bytes).toString("latin1");
    return true;
  }

  consumed(): void {}

  close(): void {}

  abandon(): void {}

  whenOver(): void {}
}

function start(): LambdaApp {
  return new LambdaApp(new FakeClock(), { functionName: "tested", functionVersion: "3", handler: "app.handler" });
}

/** Has an app boot beside an extension "a". */
function startBeside(): LambdaApp {
  const app = start();
  app.extensionsStarted({ type: "extensions", count: 1, names: ["a"] }, () => undefined);
  const body = '{"events":["INVOKE"]}';
  const headers = `Lambda-Extension-Name: a\r\nContent-Length: ${body.length}\r\n`;
  const extension = new FakeConnection(app).ask(`POST ${EXTENSION}/register`, headers, body);
  const [, id = ""] = /^Lambda-Extension-Identifier: (\S+)/m.exec(extension.got) ?? [];
  new FakeConnection(app).ask(`GET ${RUNTIME}/invocation/next`);
  new FakeConnection(app).ask(`GET ${EXTENSION}/event/next`, `Lambda-Extension-Identifier: ${id}\r\n`);
  return app;
}

const ENDED = { type: "extension_end", index: 0, exitCode: 3, signal: 0, errno: 0 } as const;

test("an extension that ends as soon as the function has booted keeps it from starting", async () => {
  const app = startBeside();
  // The gate may say both by one write.
  app.extensionEnded(ENDED);
  const failure = await app.asks;
  expect(failure?.message).toBe('Extension.Crash: the extension "a" has ended: exit status 3');
});

test("the report of a call that an extension has ended has its error", async () => {
  const app = startBeside();
  expect(await app.asks).toBeUndefined();
  const call = {
    id: "i",
    function: someFunction("f", { contract: "lambda" }),
    request: plainRequest(Buffer.from("{}")),
    secrets: NO_SECRETS,
  };
  const exchange = LAMBDA.exchange(call, app, 0);
  const nothing = () => undefined;
  const listener = { answered: nothing, delivered: nothing, failed: nothing, undelivered: nothing, left: nothing };
  const ended = Promise.withResolvers<boolean | undefined>();
  exchange.begin(() => expect.unreachable(), { ...listener, ended: (last) => ended.resolve(last) });
  app.extensionEnded(ENDED);
  expect(await ended.promise).toBe(true);
  const end = {
    status: "failed",
    reason: "function_failed",
    exit_code: null,
    signal: null,
    run_ms: 1,
    boot_ms: undefined,
    peak_memory_bytes: null,
  } as const;
  expect(exchange.lines?.last(end)).toEndWith("\tStatus: error\tError Type: Extension.Crash\n");
});

test("of reports that the function cannot start only one is kept at a time, and none once it has started", async () => {
  const app = start();
  const report = (length = 2) =>
    new FakeConnection(app).ask(`POST ${RUNTIME}/init/error`, `Content-Length: ${length}\r\nExpect: 100-continue\r\n`);
  const first = report();
  expect([first.status, report().status]).toEqual([100, 403]);
  first.leave();
  const second = report();
  expect([second.status, second.say("{}").got.includes("202 Accepted")]).toEqual([100, true]);
  expect(await app.asks).toMatchObject({ message: "Unhandled" });

  const other = start();
  new FakeConnection(other).ask(`GET ${RUNTIME}/invocation/next`);
  const late = new FakeConnection(other).ask(
    `POST ${RUNTIME}/init/error`,
    `Content-Length: 2\r\nExpect: 100-continue\r\n`,
  );
  expect([await other.asks, late.status]).toEqual([undefined, 403]);
});

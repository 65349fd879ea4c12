import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { creditFrame } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import { rawFrame } from "../support/gate-frames.ts";
import {
  callGate,
  GateProcess,
  outcome,
  requestIn,
  scratch,
  sh,
  witness,
  type Scratch,
} from "../support/gate-process.ts";
import { initGate } from "../support/init-gate.ts";

let root: Scratch;
beforeAll(async () => {
  root = await scratch();
  await Bun.$`chmod 1777 ${root.path}`;
});
afterAll(() => root[Symbol.asyncDispose]());

const fresh = () => ({ id: crypto.randomUUID(), streamed: true });

/** Runs a script by the contract `stdio`. */
function pipe(script: string, options: Parameters<typeof callGate>[2] = {}) {
  return callGate(root.path, ["--stdio", ...sh(script)], { ...fresh(), ...options });
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const MIB = 1 << 20;
/** Bytes that are nowhere the same: lost, doubled or swapped ones show. */
const long = new Uint8Array(new Uint32Array((6 * MIB) / 4).map((_, index) => index * 2_654_435_761).buffer);

describe("gate --stdio", () => {
  test("gives the body to stdin and sends stdout as the answer, and only stderr as the log", async () => {
    const call = await pipe("echo progress >&2; tr a-z A-Z; echo done >&2", { body: "hello" });
    expect(call).toMatchObject({ stdout: "", stderr: "progress\ndone\n", code: 0, exit: { exitCode: 0 } });
    expect(text(call.response)).toBe("HELLO");
    expect(call.exit).toMatchObject({ responseState: "fine", responseBytes: 0, metaState: "missing", bodyFile: true });
  });

  test.each([0, 1, 4096, 65_536, 65_537, 256 << 10, (256 << 10) + 1, 6 * MIB])(
    "streams %i bytes through `cat`",
    async (length) => {
      const body = long.subarray(0, length);
      const call = await pipe("exec cat", { body });
      expect(call.response.length).toBe(length);
      expect(Buffer.compare(call.response, body)).toBe(0);
    },
  );

  test("streams both ways at once: a filter answers before it has read everything", async () => {
    const call = await pipe("exec gzip -1", { body: long });
    expect(Buffer.compare(Bun.gunzipSync(Buffer.from(call.response)), long)).toBe(0);
  });

  test("does not stall a function that writes a lot before it reads anything", async () => {
    const call = await pipe("head -c 3000000 /dev/zero; exec cat", { body: long });
    expect(call.response.length).toBe(3_000_000 + long.length);
  });

  test.each([
    ["never reads", "echo done"],
    ["closes stdin and goes on", "exec 0<&-; sleep 0.05; echo done"],
    ["reads a part", "head -c 10 >/dev/null; echo done"],
  ])("takes it as no error if a function %s a long body", async (_, script) => {
    const call = await pipe(script, { body: long });
    expect(text(call.response)).toBe("done\n");
    expect(call.exit).toMatchObject({ exitCode: 0, signal: 0 });
  });

  test("is at the end of stdin after the body, and at once without one", async () => {
    const call = await pipe('read -r line; echo "first: $line"; read -r more; echo "then: $?"', { body: "only\n" });
    expect(text(call.response)).toBe("first: only\nthen: 1\n");
    expect(text((await pipe("read -r line; echo $?")).response)).toBe("1\n");
  });

  test("has an empty context, REQUEST_ID and CONTEXT_PATH", async () => {
    const id = crypto.randomUUID();
    const call = await pipe(
      'ls -A "$CONTEXT_PATH"; echo "$REQUEST_ID $CONTEXT_PATH"; echo x > "$CONTEXT_PATH/response.json"',
      { id },
    );
    expect(text(call.response)).toBe(`${id} ${root.path}/${id}\n`);
  });

  test.each([
    [999, "over_limit"],
    [1000, "fine"],
  ] as const)("with a limit of %i bytes finds 1,000 bytes %s", async (responseLimit, responseState) => {
    const call = await pipe("head -c 1000 /dev/zero", { responseLimit });
    expect(call.exit?.responseState).toBe(responseState);
    expect(call.response.length).toBe(Math.min(responseLimit, 1000));
  });

  test.each(["exec yes", "head -c 1073741824 /dev/zero; sleep 60", "trap '' PIPE TERM; while :; do echo y; done"])(
    "ends `%s` as soon as it has printed too much",
    async (script) => {
      const call = await pipe(script, { responseLimit: MIB });
      expect(call).toMatchObject({ expired: false, exit: { responseState: "over_limit", signal: 9 } });
      expect(call.response.length).toBe(MIB);
    },
  );

  test("counts the log apart from the answer, and keeps the end of a long one", async () => {
    const call = await pipe("head -c 100000 /dev/zero; head -c 5000 /dev/zero >&2; printf end >&2", { logLimit: 1000 });
    expect(call.response.length).toBe(100_000);
    expect(call.exit?.logDroppedBytes).toBe(4003);
    const tail = call.frames.filter((frame) => frame.type === "tail");
    expect(text(tail.at(-1)?.bytes ?? new Uint8Array(0))).toEndWith("end");
  });

  test("ends the call when the function ends, whoever still holds stdout", async () => {
    const call = await pipe("sleep 60 & setsid sleep 60 & echo done");
    expect(text(call.response)).toBe("done\n");
  });

  test("keeps all that the function had written when it ended", async () => {
    const call = await pipe("head -c 65536 /dev/zero; exit 7");
    expect(call).toMatchObject({ exit: { exitCode: 7, responseState: "fine" } });
    expect(call.response.length).toBe(65_536);
  });

  test("goes on without the output of a function that closes it", async () => {
    const call = await pipe("printf part; exec 1>&-; sleep 0.05; exit 3");
    expect(call.exit).toMatchObject({ exitCode: 3 });
    expect(text(call.response)).toBe("part");
  });

  test("ends a function at its deadline that neither reads nor writes", async () => {
    const call = await pipe("exec sleep 60", { body: long, timeoutMs: 100 });
    expect(call).toMatchObject({ expired: true, exit: { signal: 15 } });
  });

  test("notices the end of its own stdin while the function reads nothing", async () => {
    await using here = await scratch();
    const { path, up, gone } = await witness(here.path);
    await using gate = new GateProcess(["--stdio", ...sh(`exec 9>${path}; echo up >&9; exec sleep 60`)]);
    await gate.expect("ready");
    await gate.call(here.path, { ...fresh(), body: long });
    await up;
    await gate.hangUp();
    await gone;
  });

  test("starts the function before the body is complete", async () => {
    await using gate = new GateProcess(["--stdio", ...sh("echo up; exec cat")]);
    await gate.expect("ready");
    const pieces = [...gate.conversation.call(requestIn(root.path, fresh()), Buffer.from("later"))];
    const all = Buffer.concat(pieces);
    const head = all.length - 10; // the BODY frame
    await gate.send(all.subarray(0, head));
    expect(text((await gate.expect("data")).bytes)).toBe("up\n");
    await gate.send(all.subarray(head));
    expect(text((await outcome(gate)).response)).toBe("later");
  });
});

describe("a short answer", () => {
  const CALLS = 20;

  test("is one write with EXIT if the function ends soon after it", async () => {
    const busy = "i=0; while [ $i -lt 500 ]; do i=$((i + 1)); done";
    let together = 0;
    for (let call = 0; call < CALLS; call++) {
      await using gate = new GateProcess(["--stdio", ...sh(`echo answer; ${busy}`)]);
      await gate.expect("ready");
      const before = gate.chunks;
      await gate.call(root.path, fresh());
      await gate.expect("data");
      await gate.expect("exit");
      if (gate.chunks - before === 1) together++;
    }
    // On a busy machine some of the functions take longer than the gate waits.
    expect(together).toBeGreaterThan(CALLS / 4);
  });

  test("does not wait for a function that goes on, nor for the log", async () => {
    const script = "echo one; read -r line; echo $line; echo note >&2; read -r end";
    await using gate = new GateProcess(["--stdio", ...sh(script)]);
    await gate.expect("ready");
    await gate.send(...gate.conversation.call(requestIn(root.path, fresh()), undefined));
    expect(text((await gate.expect("data")).bytes)).toBe("one\n");
    await gate.send(...gate.conversation.add(Buffer.from("two\n")));
    expect(text((await gate.expect("data")).bytes)).toBe("two\n");
    expect(text((await gate.expect("log")).bytes)).toBe("note\n");
    await gate.send(...gate.conversation.add(undefined));
    expect((await outcome(gate)).exit?.signal).toBe(0);
  });
});

describe("variables of ENV_DEFAULT", () => {
  const script = 'echo "$GIVEN $ALSO $HTTP_A"';

  test("are set only if nothing else has set them", async () => {
    const call = await pipe(script, {
      env: { GIVEN: "image" },
      environment: { ALSO: "secret" },
      defaults: { GIVEN: "x", ALSO: "x", HTTP_A: "header" },
    });
    expect(text(call.response)).toBe("image secret header\n");
  });

  test("are bytes", async () => {
    const call = await pipe('printf %s "$HTTP_A"', { defaults: { HTTP_A: "caf\u00c3\u00a9" } });
    expect(text(call.response)).toBe("café");
  });
});

describe("a gate --stdio that serves several calls", () => {
  test("drops the rest of a body that nobody read, and is ready for the next call", async () => {
    await using here = await scratch();
    await using gate = await initGate(here.path, {
      options: ["--stdio"],
      command: sh('read -r script; eval "$script"'),
    });
    const serve = (script: string, rest = new Uint8Array(0)) =>
      gate.serve("/tmp/context", { streamed: true, body: Buffer.concat([Buffer.from(`${script}\n`), rest]) });
    expect(text((await serve("echo one", long)).response)).toBe("one\n");
    await gate.expect("ready");
    expect(text((await serve("cat | wc -c", long.subarray(0, 1000))).response).trim()).toBe("1000");
    await gate.expect("ready");
    const over = await gate.serve("/tmp/context", { streamed: true, body: "yes\n", responseLimit: 5000 });
    expect(over.exit).toMatchObject({ responseState: "over_limit" });
    await gate.expect("ready");
    expect(text((await serve("ls -A /tmp/context; sleep 60 & echo three")).response)).toMatch(
      /^[0-9a-f-]{36}\nthree\n$/,
    );
    await gate.expect("ready");
  });
});

describe("frames that --stdio does not allow", () => {
  const request = (bodyLength: number) => {
    const numbers = Buffer.alloc(29);
    [30_000, 1_000, 1_000, 1_000, bodyLength, 0].forEach((value, index) => numbers.writeUInt32BE(value, 4 * index));
    const word = (value: string) => Buffer.concat([Buffer.of(0, value.length), Buffer.from(value)]);
    return rawFrame(0x01, Buffer.concat([numbers, word(root.path), word(crypto.randomUUID())]));
  };
  const piece = (length: number) => rawFrame(0x02, new Uint8Array(length));

  test.each([
    ["more of the body than its length", 10, () => [piece(11)]],
    ["an empty end of a body that is complete", 10, () => [piece(10), piece(0)]],
    ["more than there is credit for", 1_000_000, () => [1, 2, 3, 4, 5, 6].map(() => piece(65_536))],
    ["a second request", 10, () => [piece(10), request(0)]],
  ])("%s fails the call", async (_, length, pieces) => {
    await using gate = new GateProcess(["--stdio", ...sh("exec sleep 60")]);
    await gate.expect("ready");
    // The conversation has to expect an answer.
    Array.from(gate.conversation.call(requestIn(root.path, fresh()), new Uint8Array(0)));
    await gate.send(request(length), ...pieces());
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
  });
});

describe("credit for the output", () => {
  /** The server's credit from the beginning, in bytes. */
  const WINDOW = 256 << 10;

  test("is what a function prints and no more, until the server gives it more", async () => {
    await using gate = new GateProcess(["--stdio", ...sh("head -c 700000 /dev/zero; echo printed >&2")]);
    await gate.expect("ready");
    await gate.call(root.path, { ...fresh(), noCredit: true });
    let got = 0;
    while (got < WINDOW) got += (await gate.expect("data")).bytes.length;
    expect(got).toBe(WINDOW);
    // It prints on as soon as it may.
    await gate.taken(WINDOW);
    while (got < 2 * WINDOW) got += (await gate.expect("data")).bytes.length;
    expect(got).toBe(2 * WINDOW);
    await gate.taken(WINDOW);
    const rest = await outcome(gate);
    expect(got + rest.response.length).toBe(700_000);
    expect(rest).toMatchObject({ stderr: "printed\n", exit: { exitCode: 0 } });
  });

  test("is not needed for what is left when the function has ended", async () => {
    const length = WINDOW + 65_536;
    const call = await pipe(`head -c ${length} /dev/zero`, { noCredit: true });
    expect(call.response.length).toBe(length);
  });

  test("keeps the deadline of a function that waits for it", async () => {
    const call = await pipe("exec yes", { noCredit: true, timeoutMs: 200 });
    expect(call).toMatchObject({ expired: true, exit: { signal: 15 } });
  });

  test("may come late: the next call knows nothing of it", async () => {
    await using here = await scratch();
    await using gate = await initGate(here.path, { options: ["--stdio"], command: sh("head -c 200000 /dev/zero") });
    for (let calls = 0; calls < 3; calls++) {
      const { response } = await gate.serve("/tmp/context", { streamed: true, noCredit: true });
      expect(response.length).toBe(200_000);
      await gate.expect("ready");
      await gate.send(creditFrame(0, 200_000));
    }
  });

  test("for more than was sent fails the call", async () => {
    await using gate = new GateProcess(["--stdio", ...sh("exec sleep 60")]);
    await gate.expect("ready");
    await gate.call(root.path, fresh());
    await gate.send(creditFrame(0, 1));
    expect(await gate.expect("failed")).toMatchObject({ stage: "frames" });
  });
});

describe("a body of unknown length", () => {
  test.each([0, 1, 65_537, 6 * MIB])("of %i bytes ends with an empty piece", async (length) => {
    const body = long.subarray(0, length);
    const call = await pipe("exec cat", { body, openBody: true });
    expect(Buffer.compare(call.response, body)).toBe(0);
  });

  test("that nobody reads ends where the server says so, and another call follows", async () => {
    await using here = await scratch();
    await using gate = await initGate(here.path, { options: ["--stdio"], command: sh("head -c 4") });
    for (const name of ["one\n", "two\n"]) {
      const body = Buffer.concat([Buffer.from(name), long]);
      expect(text((await gate.serve("/tmp/context", { streamed: true, openBody: true, body })).response)).toBe(name);
      await gate.expect("ready");
    }
  });
});

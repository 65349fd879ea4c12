import { afterEach, describe, expect, test } from "bun:test";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { Run } from "../../../lib/runner/instance/instance.ts";
import { settled } from "../../support/fake-clock.ts";
import { FakeApp } from "./fake-app.ts";

let app: FakeApp;

afterEach(async () => {
  app.instance.retire();
  await settled();
  expect([app.clock.pending, app.channel.closed]).toEqual([0, true]);
});

describe("BootedInstance serves a WebSocket", () => {
  const HANDSHAKE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  const CLOSES = "\x88\x02\x03\xe8";
  const reset: GateFrame = { type: "close", stream: 2, ending: "reset", errno: 104 };
  let client: ReadableStreamDefaultController<Uint8Array>;

  /** Makes a connection whose function has said something. */
  async function connected(): Promise<Run> {
    app = await new FakeApp({ max_calls: 0, concurrency: 4 }).boot();
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (client = controller) });
    const pending = app.call({ upgrade: true, body });
    await app.heard();
    await app.send(2, `${HANDSHAKE}\x81\x02hi`);
    return pending;
  }

  test("which fails if the function ends its side without a close frame", async () => {
    const run = await connected();
    expect(run.outcome.response?.status).toBe(101);
    await app.send(2, "", true);
    // A function that has exited would be reported by then.
    await app.clock.advance(100);
    await app.heard();
    await app.confirmEnd(2);
    const message = "The function closed the WebSocket without a close frame: see its logs";
    expect(await run.ended).toMatchObject({ status: "failed", reason: "invalid_response", message });
    expect(await new Response(run.outcome.response?.body as Bun.BodyInit).text()).toEndWith("hi");
  });

  test("which fails by the end of the function, if that is the reason", async () => {
    const run = await connected();
    await app.send(2, "", true);
    await app.exit({ exitCode: 3 });
    const message = expect.stringContaining("The function exited with code 3");
    expect(await run.ended).toMatchObject({ status: "failed", message, exit_code: 3 });
  });

  test("which succeeds behind a close frame, and if the client has closed", async () => {
    const run = await connected();
    await app.send(2, CLOSES, true);
    await app.confirmEnd(2);
    expect(await run.ended).toMatchObject({ status: "succeeded", message: null });
    app.instance.retire();

    const other = await connected();
    client.close();
    await app.heard();
    await app.send(2, "", true);
    await app.confirmEnd(2);
    expect(await other.ended).toMatchObject({ status: "succeeded" });
  });

  test("which succeeds if the function has closed and does not read what its client has said since", async () => {
    const run = await connected();
    await app.send(2, CLOSES);
    await app.say(reset);
    expect(await run.ended).toMatchObject({ status: "succeeded" });
  });
});

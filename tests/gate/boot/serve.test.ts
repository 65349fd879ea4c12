import { expect, test } from "bun:test";
import { sh } from "../support/gate-process.ts";
import { BootGate, serving } from "./boot-gate.ts";
import { freePort } from "../../support/ports/free-port.ts";

/** An app that connects to a port and runs the lines that it gets there, and does so again once they end. */
function asks(port: number, program: string): string[] {
  return [process.execPath, "-e", `const port = ${port}; ${program}`];
}

test("an app asks for its calls by a connection, and each has a stream of its own", async () => {
  const port = freePort();
  const program = `
    for (const name of ["a", "b"]) Bun.connect({ hostname: "127.0.0.1", port, socket: {
      open: (socket) => void socket.write("next " + name), data: (socket, bytes) => void socket.end("done " + bytes) } });`;
  const { gate, connections } = await serving(asks(port, program), port);
  await using _gate = gate;
  expect(await gate.expect("booted")).toMatchObject({ address: "127.0.0.1", port });
  await gate.until(() => connections.length === 2 && connections.every(({ text }) => text.startsWith("next ")));
  for (const connection of connections) connection.write(connection.text);
  for (const connection of connections) expect(await connection.rest()).toMatch(/^next (.)done next \1$/);
  for (const { stream } of connections) stream.close();
  await gate.until(() => gate.conversation.heldStreams === 0);
});

test("connections beyond the 64th are closed, and there is room again when some are gone", async () => {
  const port = freePort();
  const program = `
    let closed = 0;
    const open = () => Bun.connect({ hostname: "127.0.0.1", port, socket: {
      data: () => undefined, close: () => { if (++closed === 6) console.log("six"); if (closed === 7) void open(); } } });
    for (let i = 0; i < 70; i++) await open();`;
  const { gate, connections } = await serving(asks(port, program), port);
  await using _gate = gate;
  await gate.until(() => gate.logs.includes("six"));
  expect(connections).toHaveLength(64);
  connections[0]?.stream.close();
  await gate.until(() => connections.length === 65);
});

test("an app is frozen from the end of a call to the next", async () => {
  const port = freePort();
  const program = `
    let ticks = 0;
    setInterval(() => ticks++, 5);
    await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: (socket) => void socket.write(ticks + ";") } });`;
  const { gate, connections } = await serving(asks(port, program), port, true);
  await using _gate = gate;
  await gate.until(() => connections.length === 1);
  const counts = async () => {
    const [connection] = connections;
    const before = connection?.text.length ?? 0;
    connection?.write("?");
    await connection?.until(({ text }) => text.length > before && text.endsWith(";"));
    return Number(connection?.text.split(";").at(-2));
  };
  const first = await counts();
  gate.conversation.endCall();
  await Bun.sleep(1_000); // 200 ticks, if it ran
  gate.conversation.beginCall();
  // On a busy machine some go by until it is frozen, and until it answers.
  expect((await counts()) - first).toBeLessThan(100);
});

test("a port that is taken is FAILED", async () => {
  using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  await using gate = await BootGate.boot(sh("sleep 100"), taken.port, { serve: true });
  expect(await gate.expect("failed")).toMatchObject({ stage: "start", errno: 98 });
});

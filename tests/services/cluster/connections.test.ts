import { expect, test } from "bun:test";
import { takesConnections, untilLost } from "../../../lib/services/cluster/connections.ts";
import { DeafPort } from "../../e2e/postgres/support/deaf-port.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually } from "../../support/pace.ts";

const never = new AbortController().signal;

test("takesConnections is true for a port that is open, and false for one that is closed or says nothing for a second", async () => {
  const clock = new FakeClock();
  const open = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  expect(await takesConnections(`http://127.0.0.1:${open.port}`, clock, never)).toBe(true);
  await open.stop(true);
  expect(await takesConnections(`http://127.0.0.1:${open.port}`, clock, never)).toBe(false);
  await using deaf = await DeafPort.start();
  const looking = takesConnections(`http://127.0.0.1:${deaf.number}`, clock, never);
  await clock.advance(999);
  expect(clock.pending).toBe(1);
  await clock.advance(1);
  expect(await looking).toBe(false);
  expect(await takesConnections(`http://127.0.0.1:${deaf.number}`, clock, AbortSignal.abort())).toBe(false);
  expect(clock.pending).toBe(0);
});

test("untilLost: a server is lost that takes no connection for half a minute, and not one that does again", async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  await using deaf = await DeafPort.start();
  let lost: boolean | undefined;
  const look = async () => {
    await clock.advance(10_000);
    await clock.advance(1_000);
  };
  void untilLost(`http://127.0.0.1:${deaf.number}`, clock, never).then((isLost) => (lost = isLost));
  await look();
  await look();
  expect(lost).toBeUndefined();
  await look();
  expect(await eventually(() => lost === true)).toBe(true);

  let connections = 0;
  const open = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: () => void connections++, data: () => undefined },
  });
  const watching = untilLost(`http://127.0.0.1:${open.port}`, clock, abort.signal);
  for (let looks = 1; looks <= 4; looks++) {
    await clock.advance(10_000);
    expect(await eventually(() => connections === looks && clock.pending === 1)).toBe(true);
  }
  abort.abort();
  expect(await watching).toBe(false);
  expect(clock.pending).toBe(0);
  open.stop(true);
});

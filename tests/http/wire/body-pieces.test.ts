import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { createBodyReader } from "../../../lib/http/wire/body.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const BYTES = 200_000;

/** Returns how many pieces of bodies, or other such views, there are. */
function views(): number {
  Bun.gc(true);
  return heapStats().objectTypeCounts["Uint8Array"] ?? 0;
}

test("a body of single bytes takes no object for each of them while it arrives", async () => {
  const read = createBodyReader({ clock: new FakeClock(), unwatch: () => undefined, stall_ms: 30_000 });
  let sent = 0;
  const arrived = Promise.withResolvers<void>();
  const rest = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      if (sent < BYTES) return controller.enqueue(Uint8Array.of(sent++));
      arrived.resolve();
      await rest.promise;
      controller.close();
    },
  });
  const before = views();
  const whole = read(new Request("http://localhost/", { method: "POST", body }), BYTES);
  await arrived.promise;
  expect(views() - before).toBeLessThan(BYTES / 10);
  rest.resolve();
  expect(await whole).toHaveLength(BYTES);
});

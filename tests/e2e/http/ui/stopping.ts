import { expect } from "bun:test";
import type { Page } from "playwright-core";
import type { TestServer } from "../../../support/server.ts";

/**
 * Looks at a server that stops while a call runs, which `caller` has made with its form: another page says so and what to do,
 * and goes on asking; a form that is sent says that it was not. The server waits for the call.
 */
export async function seeItStop(server: TestServer, caller: Page, other: Page): Promise<void> {
  await other.goto(caller.url());
  const call = other.getByRole("button", { name: "Call", exact: true });
  await call.waitFor();
  let isOver = false;
  const stopped = server.stop(600_000).then(() => (isOver = true));
  const notice = other.getByRole("alert");
  await notice.getByText("The server is away").first().waitFor();
  await notice.getByText("It may be stopping or starting again; this page keeps trying.").first().waitFor();
  await call.click();
  await other.getByRole("status", { name: "Answer" }).getByText("starting again: try again in a moment").waitFor();
  await caller.getByRole("button", { name: "Calling…" }).waitFor();
  expect(isOver).toBe(false);
  // The call ends with its client.
  await caller.close();
  await stopped;
  await notice.getByText("The server is away").first().waitFor();
  await other.close();
}

import { expect } from "bun:test";
import type { Page } from "playwright-core";
import type { FunctionWithPool } from "../../../../lib/domain/functions/functions.ts";

/** Asks the server about a function. */
type Look = () => Promise<FunctionWithPool>;

/** Keeps what the page has last said about a pull, which may be over at once. */
const NOTE_PULL = `new MutationObserver(() => {
  window.pullSeen = document.querySelector(".pull")?.textContent ?? window.pullSeen;
}).observe(document.body, { subtree: true, childList: true, characterData: true })`;

/** Makes an image of a registry the function "newcomer" by the form, after mistakes that are told of at their fields. */
export async function deployNewcomer(
  page: Page,
  look: Look,
  { image, program, hostile }: { readonly image: string; readonly program: string; readonly hostile: string },
): Promise<void> {
  await page.getByRole("link", { name: "Functions", exact: true }).click();
  await page.getByRole("link", { name: "Deploy an image" }).click();
  const field = (name: string) => page.getByLabel(name, { exact: true });
  const deploy = page.getByRole("button", { name: "Deploy", exact: true });
  const isRefused = async (name: string, words: string) => {
    await deploy.click();
    await page.locator(`#field-${name}-problem`).getByText(words).waitFor();
    expect(await page.evaluate<string>("document.activeElement.name")).toBe(name);
  };
  await field("image").fill(hostile);
  await isRefused("image", "Invalid");
  await field("image").fill(image);
  await field("name").fill("Newcomer");
  await isRefused("name", 'Invalid "name"');
  await field("name").fill("newcomer");
  await field("memory_bytes").fill("much");
  await isRefused("memory_bytes", "It must be a number, in bytes");
  await field("memory_bytes").fill("64 MiB");
  await field("contract").selectOption("stdio");
  await field("environment").fill(`MODE=good\nHOSTILE=${JSON.stringify(hostile)}`);
  // Two settings that do not go together, one of them folded away.
  await page.getByText("More settings").click();
  await field("warm_min").fill("5000000");
  await page.getByText("More settings").click();
  await isRefused("warm_min", 'Invalid "warm_min"');
  await field("warm_min").fill("");
  await field("output").selectOption("cgi");
  await field("entrypoint").fill('["sh", "-c"]');
  await field("command").fill(JSON.stringify([program]));
  await field("network").fill("none");
  await page.evaluate(NOTE_PULL);
  await deploy.click();
  await page.getByRole("heading", { name: "newcomer" }).waitFor();
  expect(await page.evaluate<string>("window.pullSeen")).toMatch(/of \d+ layers/);
  expect(await look()).toMatchObject({
    image,
    environment: { MODE: "good", HOSTILE: hostile },
    memory_bytes: 64 * 1024 ** 2,
    contract: "stdio",
    output: "cgi",
    entrypoint: ["sh", "-c"],
    command: [program],
    network: "none",
    warm_min: 0,
    version: 1,
  });
}

/** Makes a new version of a function by the form on its page: with what was changed, and nothing else. */
export async function deployNewVersion(page: Page, look: Look): Promise<void> {
  const before = await look();
  await page.getByRole("link", { name: "New version" }).click();
  const field = (name: string) => page.getByLabel(name, { exact: true });
  expect(await field("memory_bytes").inputValue()).toBe("64 MiB");
  await field("timeout_ms").fill("2 min");
  await page.getByRole("button", { name: "Deploy a new version" }).click();
  await page.getByText("The function is at version 2 now.").waitFor();
  const after = await look();
  const { updated_at, pool } = after;
  expect(after).toEqual({ ...before, version: 2, updated_at, pool, timeout_ms: 120_000 });
}

import type { EngineClient } from "./engine-client.ts";

/** The life of a container on a quiet machine, the one that the limits of the tests are for, in milliseconds. */
const QUIET_MS = 600;

/**
 * Returns how many times longer than on a quiet machine an engine takes for the life of a container: create, start, wait,
 * remove. The image has a program `true`.
 */
export async function containerPace(client: EngineClient, image: string): Promise<number> {
  const started = performance.now();
  const created = await client.json("POST", "/containers/create", {
    body: JSON.stringify({ Image: image, Entrypoint: ["true"], HostConfig: { NetworkMode: "none" } }),
    headers: { "content-type": "application/json" },
  });
  const { Id } = created as { Id: string }; // the engine's own format
  await client.request("POST", `/containers/${Id}/start`);
  await client.json("POST", `/containers/${Id}/wait`);
  await client.request("DELETE", `/containers/${Id}?force=1&v=1`);
  return (performance.now() - started) / QUIET_MS;
}

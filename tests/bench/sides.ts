import { EngineClient } from "../../.ci/engine/engine-client.ts";
import { ownedContainers } from "../support/leaks.ts";
import { requireProgram } from "../../.ci/packages.ts";
import type { Operation } from "./compare.ts";

const RUN_COMMAND = "exec /usr/bin/chaos";

/** Makes a call over HTTP; anything but 200 throws. */
export async function invoke(url: string, fn: { readonly id: string }): Promise<string> {
  const response = await fetch(`${url}/v1/functions/${fn.id}/invoke`, { method: "POST", body: '{"do": "exit"}' });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`A call answered ${response.status}: ${text}`);
  return text;
}

/** Runs the same program in a container with the `docker` command, with the same limits and a tmpfs for the context. */
export function dockerRun(image: string): Operation {
  const limits = [
    "--memory=256m",
    "--memory-swap=256m",
    "--cpus=1",
    "--pids-limit=128",
    "--security-opt=no-new-privileges",
  ];
  const context = ["--tmpfs", "/tmp/context:mode=1777", "-e", "CONTEXT_PATH=/tmp/context", "--entrypoint", "/bin/sh"];
  const script = `printf '{"do": "exit"}' > $CONTEXT_PATH/request.json; ${RUN_COMMAND}`;
  const command = [requireProgram("docker"), "run", "--rm", ...limits, ...context, image, "-c", script];
  return {
    name: "docker run --rm",
    run: async () => {
      // Bun passes to children the environment that it was started with, without later additions.
      const child = Bun.spawn(command, { env: process.env, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
      const [code, problem] = await Promise.all([child.exited, child.stderr.text()]);
      if (code !== 0) throw new Error(`docker run ended with ${code}: ${problem}`);
    },
  };
}

/** Waits until at most `stay` of our containers are left: a removal in progress would be charged to the next operation. */
export async function idle(docker: string, stay = 0): Promise<void> {
  const client = new EngineClient(docker);
  while ((await ownedContainers(client)).length > stay) await Bun.sleep(10);
}

/** Waits until a function's pool has a ready instance, the engine is idle and nothing boots. */
export async function warm(url: string, fn: { readonly id: string }): Promise<void> {
  for (;;) {
    const reply = (await (await fetch(`${url}/v1/functions/${fn.id}`)).json()) as {
      data: { pool: { ready: number; starting: number; booting?: number } };
    };
    const { ready, starting, booting = 0 } = reply.data.pool;
    if (ready > 0 && starting + booting === 0) break;
    await Bun.sleep(10);
  }
}

/** Has the engine itself run the same program in a container: create, start, wait, remove. */
export async function engineCycle(client: EngineClient, image: string, network: string): Promise<void> {
  const body = JSON.stringify({
    Image: image,
    Entrypoint: ["/bin/sh", "-c"],
    Cmd: [`printf '{"do": "exit"}' > $CONTEXT_PATH/request.json; ${RUN_COMMAND}`],
    Env: ["CONTEXT_PATH=/tmp/context"],
    HostConfig: {
      NetworkMode: network,
      Memory: 268_435_456,
      MemorySwap: 268_435_456,
      NanoCpus: 1e9,
      PidsLimit: 128,
      Tmpfs: { "/tmp/context": "mode=1777" },
      LogConfig: { Type: "none" },
    },
  });
  const headers = { "Content-Type": "application/json" };
  const created = (await client.json("POST", "/containers/create", { body, headers })) as { Id: string };
  const path = `/containers/${created.Id}`;
  await (await client.request("POST", `${path}/start`)).text();
  await (await client.request("POST", `${path}/wait`)).text();
  await (await client.request("DELETE", `${path}?force=1&v=1`)).text();
}

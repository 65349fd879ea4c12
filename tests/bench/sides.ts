import { EngineClient } from "../support/engine-client.ts";
import { ownedContainers } from "../support/leaks.ts";
import { requireProgram } from "../support/packages.ts";

/** One call over HTTP; anything but 200 throws. */
export async function invoke(url: string, fn: { readonly id: string }): Promise<string> {
  const response = await fetch(`${url}/v1/functions/${fn.id}/invoke`, { method: "POST", body: '{"do": "exit"}' });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`A call answered ${response.status}: ${text}`);
  return text;
}

/** The same program in a container by the `docker` command, with the same limits; the context is a tmpfs too. */
export async function dockerRun(image: string): Promise<void> {
  const limits = [
    "--memory=256m",
    "--memory-swap=256m",
    "--cpus=1",
    "--pids-limit=128",
    "--security-opt=no-new-privileges",
  ];
  const context = ["--tmpfs", "/tmp/context:mode=1777", "-e", "CONTEXT_PATH=/tmp/context"];
  const script = 'printf "{}" > $CONTEXT_PATH/request.json; exec /usr/bin/chaos';
  const command = ["run", "--rm", ...limits, ...context, "--entrypoint", "/bin/sh", image, "-c", script];
  const child = Bun.spawn([requireProgram("docker"), ...command], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const [code, problem] = await Promise.all([child.exited, child.stderr.text()]);
  if (code !== 0) throw new Error(`docker run ended with ${code}: ${problem}`);
}

/** Waits until no container of ours is left: what is still being removed would be charged to the next operation. */
export async function idle(docker: string): Promise<void> {
  const client = new EngineClient(docker);
  while ((await ownedContainers(client)).length > 0) await Bun.sleep(10);
}

// The whole contract with Slipway: read request.json, write response.json, exit.
const context = process.env["CONTEXT_PATH"] ?? ".";

async function answer(response: unknown, exitCode: number): Promise<never> {
  await Bun.write(`${context}/response.json`, JSON.stringify(response));
  process.exit(exitCode);
}

async function readRequest(): Promise<unknown> {
  try {
    return await Bun.file(`${context}/request.json`).json();
  } catch {
    return answer({ success: false, message: "the request is not JSON" }, 1);
  }
}

const request = await readRequest();
const message = typeof request === "object" && request !== null && "message" in request ? request.message : undefined;
if (message === undefined) await answer({ success: false, message: "missing message" }, 1);
if (typeof message !== "string") await answer({ success: false, message: "message must be a string" }, 1);

// Slipway keeps what a function prints with the record of its call.
console.log(`Saying ${JSON.stringify(message)}`);
await answer({ success: true, data: { message } }, 0);

export {};

import { SetupError } from "./packages.ts";

/** Data of an answer of the API, or the whole answer of a function. */
type Json = Readonly<Record<string, unknown>>;

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly body: unknown;
}

/** Calls a Slipway server as a person with curl would. */
export class Api {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Returns the records of a collection and prints nothing. */
  async list(path: string): Promise<readonly Json[]> {
    const { body } = await this.#send("GET", path);
    // An envelope, as the API documents it.
    return (body as { data: Json[] }).data;
  }

  /** Prints the curl line of a request, sends it, and prints what `lines` makes of the data in the answer. */
  async show(method: string, path: string, body: Json, lines: (data: Json) => Json): Promise<void> {
    const { body: answer } = await this.#sendAloud(method, path, body);
    // An envelope, as the API documents it.
    const shown = Object.entries(lines((answer as { data: Json }).data));
    for (const [name, value] of shown) console.log(`  ${name.padEnd(10)}${String(value)}`);
  }

  /** Prints the curl line of a call, sends it, and prints the function's answer. */
  async call(path: string, body: Json): Promise<void> {
    console.log((await this.#sendAloud("POST", path, body)).text);
  }

  async #sendAloud(method: string, path: string, body: Json): Promise<Answer> {
    const text = JSON.stringify(body);
    console.log(`\n$ curl ${this.#url}${path}${method === "POST" ? "" : ` -X ${method}`} -d '${text}'`);
    const answer = await this.#send(method, path, text);
    if (answer.status < 400) return answer;
    throw new SetupError(`${method} ${path} failed with status ${answer.status}: ${answer.text}`);
  }

  async #send(method: string, path: string, text?: string): Promise<Answer> {
    const response = await fetch(this.#url + path, {
      method,
      // The content type that `curl -d` sends.
      ...(text === undefined ? {} : { body: text, headers: { "content-type": "application/x-www-form-urlencoded" } }),
    });
    const answer = await response.text();
    try {
      return { status: response.status, text: answer, body: JSON.parse(answer) };
    } catch {
      throw new SetupError(`${method} ${path} answered ${response.status} with something other than JSON:\n${answer}`);
    }
  }
}

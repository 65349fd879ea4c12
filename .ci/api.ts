import { SetupError } from "./packages.ts";

type Json = Readonly<Record<string, unknown>>;

/** Calls a Slipway server as a person with curl would, and shows it. */
export class Api {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** The records of a collection, without a word. */
  async list(path: string): Promise<readonly Json[]> {
    const { body } = await this.#send("GET", path);
    // An envelope, as the API documents it.
    return (body as { data: Json[] }).data;
  }

  /** Prints the curl line and the answer; returns `data` of the envelope, or the whole of an answer without one. */
  async show(method: string, path: string, body?: Json): Promise<Json> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const implied = body === undefined ? "GET" : "POST";
    const flags = [method === implied ? "" : ` -X ${method}`, text === undefined ? "" : ` -d '${text}'`].join("");
    console.log(`\n$ curl ${this.#url}${path}${flags}`);
    const { status, text: answer, body: parsed } = await this.#send(method, path, text);
    console.log(answer);
    if (status >= 400) throw new SetupError(`That was not to be expected: status ${status}.`);
    const data = (parsed as { data?: Json }).data;
    return data ?? (parsed as Json); // any JSON object
  }

  async #send(method: string, path: string, text?: string): Promise<{ status: number; text: string; body: unknown }> {
    const response = await fetch(this.#url + path, {
      method,
      // What curl -d sends by default.
      ...(text === undefined ? {} : { body: text, headers: { "content-type": "application/x-www-form-urlencoded" } }),
    });
    const answer = await response.text();
    try {
      return { status: response.status, text: answer, body: JSON.parse(answer) };
    } catch {
      throw new SetupError(`${method} ${path} answered ${response.status} with something else than JSON:\n${answer}`);
    }
  }
}

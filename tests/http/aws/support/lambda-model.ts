/** A type of AWS's model of its API, as far as answers are checked by it. */
interface Shape {
  readonly type: string;
  readonly required?: readonly string[];
  readonly members?: Readonly<Record<string, Member>>;
  readonly member?: Member;
  readonly value?: Member;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  /** The member that is the body. */
  readonly payload?: string;
  readonly error?: { readonly httpStatusCode: number };
}

interface Member {
  readonly shape: string;
  readonly location?: "header" | "querystring" | "statusCode" | "uri";
  readonly locationName?: string;
}

interface Operation {
  readonly http: { readonly method: string; readonly requestUri: string; readonly responseCode?: number };
  readonly input: Member;
  readonly output?: Member;
  readonly errors?: readonly Member[];
}

/** An answer whose body was read. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** A member of an operation's request. */
export interface InputMember {
  readonly name: string;
  readonly location: Member["location"] | "body" | "payload";
  readonly locationName: string;
  /** A value that has the member's type, and is not empty. */
  readonly sample: unknown;
}

/** Headers that answers of every operation have, which the model is silent about. */
const COMMON: ReadonlySet<string> = new Set(["x-amzn-errortype", "x-amzn-remapped-content-type", "x-amzn-requestid"]);
/** Members that answers have had since Debian's model was made. */
const NEWER: ReadonlySet<string> = new Set(["LoggingConfig"]);
/** Statuses of a success besides the model's one, by the documentation of `StatusCode`, and of a deletion in older models. */
const OTHER_STATUSES: Readonly<Record<string, readonly number[]>> = {
  Invoke: [202, 204],
  InvokeWithResponseStream: [204],
  DeleteFunction: [204],
};

/** AWS's own model of its API (`service-2.json`), by which its clients read answers. */
export class LambdaModel {
  readonly operations: Readonly<Record<string, Operation>>;
  readonly #shapes: Readonly<Record<string, Shape>>;

  private constructor(model: { operations: Record<string, Operation>; shapes: Record<string, Shape> }) {
    this.operations = model.operations;
    this.#shapes = model.shapes;
  }

  static async read(path: string): Promise<LambdaModel> {
    return new LambdaModel(await Bun.file(path).json());
  }

  /** Returns what is wrong with a success. */
  problems(name: string, { status, headers, body }: Answered): string[] {
    const { http, output } = this.#operation(name);
    const { responseCode = 200 } = http;
    const problems = [];
    if (status !== responseCode && !OTHER_STATUSES[name]?.includes(status))
      problems.push(`the status is ${status}, not ${responseCode}`);
    if (output === undefined) return body.length === 0 ? problems : [...problems, "there is a body"];
    const shape = this.#shape(output.shape);
    problems.push(...this.#headerProblems(shape, headers));
    if (shape.payload !== undefined || body.length === 0) return problems;
    return [...problems, ...this.#objectProblems(shape, jsonOf(body), name)];
  }

  /** Returns what is wrong with an error, and with there being one of that name for that operation. */
  errorProblems(name: string, { status, headers, body }: Answered): string[] {
    const type = headers.get("x-amzn-errortype") ?? "";
    const shape = this.#shapes[type];
    if (shape?.error === undefined) return [`there is no error ${type}`];
    const problems = [];
    if (!this.#operation(name).errors?.some((one) => one.shape === type)) problems.push(`${name} has no error ${type}`);
    const { httpStatusCode } = shape.error;
    if (status !== httpStatusCode) problems.push(`the status of ${type} is ${status}, not ${httpStatusCode}`);
    const sent = jsonOf(body);
    const fault = httpStatusCode < 500 ? "User" : "Service";
    if (sent["Type"] !== fault) problems.push(`the Type of ${type} is ${String(sent["Type"])}, not ${fault}`);
    if (typeof (sent["message"] ?? sent["Message"]) !== "string") problems.push(`${type} has no message`);
    return [...problems, ...this.#headerProblems(shape, headers), ...this.#objectProblems(shape, sent, type)];
  }

  /** Returns what is wrong with a value of a type. */
  valueProblems(name: string, value: unknown, path = name): string[] {
    const shape = this.#shape(name);
    switch (shape.type) {
      case "structure":
        return isObject(value) ? this.#objectProblems(shape, value, path) : [`${path} is no object`];
      case "map":
        if (!isObject(value)) return [`${path} is no object`];
        return this.#each(shape.value, Object.entries(value), path);
      case "list":
        if (!Array.isArray(value)) return [`${path} is no list`];
        return this.#each(shape.member, Object.entries(value), path);
      case "integer":
      case "long":
        return Number.isSafeInteger(value) ? [] : [`${path} is no integer: ${String(value)}`];
      case "boolean":
        return typeof value === "boolean" ? [] : [`${path} is not true or false`];
      case "string":
        return typeof value === "string" ? textProblems(shape, value, path) : [`${path} is no text`];
      default:
        return [`${path} is of the type ${shape.type}, which no answer has had so far`];
    }
  }

  /** Returns the members of an operation's request, with an example of each. */
  inputMembers(name: string): InputMember[] {
    const { members = {}, payload } = this.#shape(this.#operation(name).input.shape);
    return Object.entries(members).map(([member, { shape, location, locationName = member }]) => ({
      name: member,
      location: member === payload ? "payload" : (location ?? "body"),
      locationName,
      sample: this.#sampleOf(shape),
    }));
  }

  #sampleOf(name: string): unknown {
    const { type, members = {}, member, value, enum: values } = this.#shape(name);
    switch (type) {
      case "structure":
        return Object.fromEntries(Object.entries(members).map(([key, { shape }]) => [key, this.#sampleOf(shape)]));
      case "list":
        return [this.#sampleOf(member?.shape ?? "")];
      case "map":
        return { A: this.#sampleOf(value?.shape ?? "") };
      case "boolean":
        return true;
      case "string":
      case "blob":
        return values?.at(-1) ?? "eA==";
      default:
        return 512;
    }
  }

  #each(member: Member | undefined, items: readonly (readonly [string, unknown])[], path: string): string[] {
    return items.flatMap(([key, item]) => this.valueProblems(member?.shape ?? "", item, `${path}.${key}`));
  }

  #headerProblems({ members = {} }: Shape, headers: Headers): string[] {
    const known = Object.values(members).filter(({ location }) => location === "header");
    const named = new Map(known.map(({ shape, locationName = "" }) => [locationName.toLowerCase(), shape]));
    return [...headers].flatMap(([name, value]) => {
      const shape = named.get(name);
      if (shape !== undefined) return this.valueProblems(shape, value, name);
      return name.startsWith("x-amz") && !COMMON.has(name) ? [`the header ${name} is not in the model`] : [];
    });
  }

  #objectProblems({ members = {}, required = [] }: Shape, value: Fields, path: string): string[] {
    const missing = required.filter((name) => value[name] === undefined).map((name) => `${path}.${name} is missing`);
    const wrong = Object.entries(value).flatMap(([name, inner]) => {
      const member = members[name];
      if (member === undefined && NEWER.has(name)) return [];
      if (member === undefined || member.location !== undefined) return [`${path}.${name} is not in the model`];
      return this.valueProblems(member.shape, inner, `${path}.${name}`);
    });
    return [...missing, ...wrong];
  }

  #operation(name: string): Operation {
    const operation = this.operations[name];
    if (operation === undefined) throw new Error(`The model has no operation ${name}`);
    return operation;
  }

  #shape(name: string): Shape {
    const shape = this.#shapes[name];
    if (shape === undefined) throw new Error(`The model has no shape ${name}`);
    return shape;
  }
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function jsonOf(body: Uint8Array): Fields {
  const value: unknown = JSON.parse(Buffer.from(body).toString());
  if (!isObject(value)) throw new Error("The body is no JSON object");
  return value;
}

function textProblems(shape: Shape, text: string, path: string): string[] {
  if (shape.enum !== undefined && !shape.enum.includes(text))
    return [`${path} is none of ${shape.enum.join(", ")}: ${text}`];
  if (shape.pattern === undefined || new RegExp(`^(?:${shape.pattern})$`).test(text)) return [];
  return [`${path} is not like ${shape.pattern}: ${text}`];
}

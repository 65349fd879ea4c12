import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MANIFEST_BYTES } from "../../../lib/domain/limits.ts";
import type { AppliedManifest, Manifest } from "../../../lib/domain/manifest/manifest.ts";
import { fixture } from "../../support/images.ts";
import { type Reply, TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const YAML = { "Content-Type": "application/yaml" };

let server: TestServer;
let image: string;
let manifest: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("static");
  manifest = `
version: 1
functions:
  hello:
    image: \${IMAGE:-${image}}
    timeout_ms: \${TIMEOUT:-5000}
    environment: {PORT: "\${PORT:-80}", PRICE: "$$5"}
routes:
  /hello: {function: hello, methods: [GET, POST]}
secrets:
`;
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  await apply("version: 1", "?prune=true");
});

function apply(body: unknown, query = "", headers: Record<string, string> = {}): Promise<Reply<AppliedManifest>> {
  return server.api<AppliedManifest>("POST", `/v1/apply${query}`, body, headers);
}

async function changed(body: unknown, query = "", headers: Record<string, string> = {}): Promise<string[]> {
  const { changes } = expectSuccess(await apply(body, query, headers));
  return changes.map(({ kind, action, name }) => `${action} ${kind} ${name}`);
}

const CREATED = ["created function hello", "created route /hello"];
const UNCHANGED = ["unchanged function hello", "unchanged route /hello"];

describe("POST /v1/apply", () => {
  test("POST /v1/apply reports what it changed, and the second time that nothing did", async () => {
    const { dry_run, changes } = expectSuccess(await apply(manifest, "", YAML));
    expect([dry_run, changes]).toEqual([
      false,
      [
        { kind: "function", name: "hello", action: "created", fields: {} },
        { kind: "route", name: "/hello", action: "created", fields: {} },
      ],
    ]);
    const before = expectSuccess(await server.api("GET", "/v1/functions/hello"));
    expect(before).toMatchObject({ image, timeout_ms: 5_000, environment: { PORT: "80", PRICE: "$5" }, version: 1 });
    expect(await changed(manifest, "", YAML)).toEqual(UNCHANGED);
    expect(expectSuccess(await server.api("GET", "/v1/functions/hello"))).toEqual(before);
    expect(await (await fetch(`${server.url}/r/hello`, { method: "POST", body: "[1]" })).text()).toBe("[1]");
  });

  test.each<[what: string, send: () => Promise<string[]>]>([
    ["YAML with its content type", () => changed(manifest, "", YAML)],
    ["YAML with another one", () => changed(manifest, "", { "Content-Type": "text/x-yaml; charset=utf-8" })],
    [
      "YAML as a form, as curl sends it",
      () => changed(manifest, "", { "Content-Type": "application/x-www-form-urlencoded" }),
    ],
    ["a text of YAML in JSON", () => changed({ manifest })],
    ["an object in JSON", () => changed({ manifest: Bun.YAML.parse(manifest) })],
    ["JSON", () => changed(JSON.stringify(Bun.YAML.parse(manifest)))],
    ["JSON under YAML's name", () => changed(JSON.stringify(Bun.YAML.parse(manifest)), "", YAML)],
    [
      "YAML in flow style",
      () =>
        changed(`{version: 1, functions: {hello: {image: "${image}"}}, routes: {/hello: {function: hello}}}`, "", YAML),
    ],
  ])("POST /v1/apply accepts %s", async (_what, send) => {
    expect(await send()).toEqual(CREATED);
  });

  test("POST /v1/apply accepts variables, and reports what they change", async () => {
    await apply(manifest, "", YAML);
    const variables = { TIMEOUT: "100", PORT: "8080" };
    expect(expectSuccess(await apply({ manifest, variables, dry_run: true })).changes[0]).toEqual({
      kind: "function",
      name: "hello",
      action: "updated",
      fields: {
        timeout_ms: {
          from: 5e3,
          to: 100,
        },
        "environment/PORT": {
          from: "***",
          to: "***",
        },
      },
    });
  });

  test.each<[query: string, body: object, would: boolean]>([
    ["?dry_run=true", {}, true],
    ["", { dry_run: true }, true],
    ["?dry_run=false", { dry_run: true }, false],
    ["?dry_run=true", { dry_run: false }, true],
    ["", {}, false],
  ])("POST /v1/apply%s with %j: a dry run is %j", async (query, body, would) => {
    expect(expectSuccess(await apply({ manifest, ...body }, query)).dry_run).toBe(would);
    expect((await server.api("GET", "/v1/functions/hello")).status).toBe(would ? 404 : 200);
  });

  test("POST /v1/apply?prune=true deletes what is not mentioned", async () => {
    await apply(manifest, "", YAML);
    const gone = ["deleted route /hello", "deleted function hello"];
    expect(await changed("version: 1", "", YAML)).toEqual([]);
    expect(await changed({ manifest: "version: 1", prune: true, dry_run: true })).toEqual(gone);
    expect(await changed("version: 1", "?prune=true", YAML)).toEqual(gone);
    expect(expectSuccess(await server.api("GET", "/v1/functions"))).toEqual([]);
  });

  test("POST /v1/apply?pull=true looks up images again that exist only on the engine", async () => {
    await apply(manifest, "", YAML);
    expect(await changed(manifest, "?pull=true", YAML)).toEqual(UNCHANGED);
  });

  const invalid: readonly (readonly [body: unknown, message: string])[] = [
    ["", "The request has no body: send a manifest, as YAML or JSON"],
    ["[]", "The manifest must be an object such as "],
    ["a: 1\n---\nb: 2", "but it is a list, or several documents"],
    [
      "provider: {name: openfaas}\nfunctions: {}",
      "a file of another platform (OpenFaaS stack): slipway apply converts",
    ],
    ["services: {a: {image: a}}", "a file of another platform (compose file)"],
    ["a: 1\n---\napiVersion: serving.knative.dev/v1\nkind: Service", "a file of another platform (Knative service)"],
    ["hello", "The manifest must be an object such as "],
    ["{}", 'Missing "version": it must be 1'],
    ["version: 2", 'Invalid "version": it must be 1, but it is 2'],
    ["version: 1\nfunction: {}", 'Unknown field "function": did you mean "functions"?'],
    ["version: 1\nfunctions: []", 'Invalid "functions": it must be an object'],
    ["version: 1\nfunctions:\n  a:\n", 'Invalid "functions/a": it must be an object, but it is null'],
    ["version: 1\nfunctions: {a: {}}", 'Missing "functions/a/image": it must be a string'],
    ["version: 1\nfunctions: {a: {imgae: x}}", 'Unknown field "functions/a/imgae": did you mean "image"?'],
    ["version: 1\nfunctions: {a: {image: x, name: b}}", 'Unknown field "functions/a/name": expected "image", '],
    [
      "version: 1\nfunctions: {a: {image: x, timeout_ms: 1}}",
      'Invalid "functions/a/timeout_ms": it must be a whole number from 100',
    ],
    [
      "version: 1\nfunctions: {a: {image: x, cpus: .inf}}",
      'Invalid "functions/a/cpus": it must be a number from 0.01 to 1024, but it is Infinity',
    ],
    [
      "version: 1\nfunctions: {a: {image: x, environment: {PORT: 80}}}",
      'Invalid "functions/a/environment/PORT": it must be a string',
    ],
    [
      "version: 1\nfunctions: {A: {image: x}}",
      'Invalid name "A" in "functions": it must be a string of 1 to 63 characters that matches ^[a-z0-9-]+$',
    ],
    ["version: 1\nroutes: {/x: {}}", 'Missing "routes//x/function"'],
    ["version: 1\nroutes: {/x: {function: A}}", 'Invalid "routes//x/function": it must be a string of 1 to 63'],
    [
      "version: 1\nroutes: {/x: {function: a, method: GET}}",
      'Unknown field "routes//x/method": did you mean "methods"?',
    ],
    ["version: 1\nroutes: {x: {function: a}}", 'Invalid "path" "x": it must begin with "/"'],
    [
      "version: 1\nroutes: {/x: {function: nobody}}",
      'The route "/x" leads to "nobody", which is not a function in the manifest',
    ],
    [
      "version: 1\nsecrets: [a, b]",
      'The manifest names secrets that are not there: "a", "b". PUT /v1/secrets/<name> first',
    ],
    [
      "version: 1\nsecrets: [a, a]",
      'Invalid "secrets": it must be a list of at most 10000 different strings, but it has "a" twice',
    ],
    [
      "version: 1\nfunctions: {a: {image: '${X}${Y}'}}",
      'The manifest mentions variables that were not given: "X", "Y". Give them',
    ],
    [
      "version: 1\nfunctions: {a: {image: '${X'}}",
      'Invalid "functions/a/image": "${" is not a variable: write ${NAME}',
    ],
    ["version: 1\nx: [", "The manifest is not valid YAML: unexpected token, near line 2"],
    [{ manifest: "x: [" }, "The manifest is not valid YAML: unexpected token, near line 1"],
    ['{"version": 1', "The request body is not JSON: "],
    [{ manifest: null }, "The manifest must be an object such as "],
    [{ manifest: { version: 1 }, prun: true }, 'Unknown field "prun": did you mean "prune"?'],
    [{ manifest: { version: 1 }, dry_run: "yes" }, 'Invalid "dry_run": it must be true or false, but it is "yes"'],
    [{ manifest: { version: 1 }, variables: { A: 1 } }, 'Invalid "variables/A": it must be a string'],
    [
      { manifest: "version: 1\nfunctions: {a: {image: x, pids: '${PW}'}}", variables: { PW: "hunter2" } },
      'Invalid "functions/a/pids": it must be a whole number from 4 to 32768',
    ],
    [{ manifest: { version: 1 }, variables: [] }, 'Invalid "variables": it must be an object of strings'],
    [`{"a": ${"[".repeat(65)}`, "The request body is not JSON: it is nested deeper than 64 levels"],
    [`[${"[".repeat(5_000)}`, "The manifest is not valid YAML: it is nested too deeply"],
    [`[1${",1".repeat(100_001)}]`, "The manifest must be an object"],
    [`version: 1\nx: [1${",1".repeat(100_001)}]`, "The manifest has more than 100000 values: apply it in parts"],
    ["x: &a [*a]", "The manifest is nested deeper than 32 levels: apply it in parts"],
  ];
  test.each(invalid)("POST /v1/apply answers 400 to %#: %p", async (body, message) => {
    const reply = await apply(body, "", typeof body === "string" && !body.startsWith("{") ? YAML : {});
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toContain(message);
  });

  test("POST /v1/apply answers 400 to a body that is not UTF-8", async () => {
    const response = await fetch(`${server.url}/v1/apply`, {
      method: "POST",
      body: new Uint8Array([0x76, 0xff]),
      headers: YAML,
    });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { message: "The request body is not UTF-8: send a manifest, as YAML or JSON" },
    ]);
  });

  test.each(["?dryrun=true", "?prune=1", "?pull="])("POST /v1/apply%s answers 400", async (query) => {
    expectError(await apply(manifest, query, YAML), { status: 400, reason: "invalid_request" });
  });

  test("POST /v1/apply answers 413 to a manifest that is too long, even inside JSON", async () => {
    const long = `version: 1\n#${"x".repeat(MANIFEST_BYTES)}`;
    for (const [body, headers] of [
      [long, YAML],
      [{ manifest: long }, {}],
    ] as const) {
      const reply = await apply(body, "", headers);
      expectError(reply, { status: 413, reason: "payload_too_large" });
      expect(reply.body.message).toStartWith("The manifest has 1048588 bytes: at most 1048576 are allowed");
    }
  });

  test("POST /v1/apply answers 400 to an image that is not available, names its function, and changes nothing", async () => {
    const all = `version: 1\nfunctions: {good: {image: "${image}"}, bad: {image: "${await fixture("no-command")}"}}`;
    const reply = await apply(all, "", YAML);
    expectError(reply, { status: 400, reason: "image_invalid" });
    expect(reply.body.message).toStartWith('Function "bad": Image "');
    expect(expectSuccess(await server.api("GET", "/v1/functions"))).toEqual([]);
  });

  test("POST /v1/apply ten times concurrently creates a function once", async () => {
    const replies = await Promise.all(Array.from({ length: 10 }, () => apply(manifest, "", YAML)));
    const actions = replies.map((reply) => expectSuccess(reply).changes[0]?.action);
    expect(actions.filter((action) => action === "unchanged")).toHaveLength(9);
    expect(actions).toContain("created");
  });

  test("POST /v1/apply accepts any manifest or answers 400", async () => {
    const field = fc.constantFrom(
      "version",
      "functions",
      "routes",
      "secrets",
      "hello",
      "/x",
      "image",
      "__proto__",
      "function",
      "x",
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom<unknown>(1, null, true, "hello", "${A:-b}", "${A}", "$", "nowhere/nothing:1", -0, 1e300),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(field, tie("value"), { maxKeys: 4 }),
      ),
    }));
    const some = fc.record(
      { version: fc.constantFrom(1, "1", "${A:-1}"), functions: value, routes: value, secrets: value },
      { requiredKeys: ["version"] },
    );
    const property = fc.asyncProperty(some, fc.boolean(), async (generated, inJson) => {
      const body = inJson ? { manifest: generated } : Bun.YAML.stringify(generated);
      const { status, body: answer } = await apply(body, "?dry_run=true", inJson ? {} : YAML);
      expect([status, answer.message]).toEqual([status === 200 ? 200 : 400, expect.any(String)]);
    });
    await fc.assert(property, { numRuns: 500 });
  });
});

describe("GET /v1/export", () => {
  test("GET /v1/export answers with YAML that changes nothing when it is applied", async () => {
    await apply(manifest, "", YAML);
    const response = await fetch(`${server.url}/v1/export`);
    expect([response.status, response.headers.get("content-type"), response.headers.get("vary")]).toEqual([
      200,
      "application/yaml",
      "Accept",
    ]);
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    const text = await response.text();
    expect(text).toBe(`version: 1
functions:
  hello:
    image: ${image}
    timeout_ms: 5000
    environment:
      PORT: "80"
      PRICE: $$5
routes:
  /hello:
    function: hello
    methods:
      - GET
      - POST
secrets: []
`);
    expect(await changed(text, "?prune=true", YAML)).toEqual(UNCHANGED);
  });

  test.each([
    ["application/json", true],
    ["text/html, application/json;q=0.5", true],
    ["application/yaml, application/json;q=0.5", false],
    ["*/*", false],
    ["text/html", false],
  ])("GET /v1/export with Accept %s: JSON is %j", async (accept, isJson) => {
    const response = await fetch(`${server.url}/v1/export`, { headers: { Accept: accept } });
    expect(response.headers.get("content-type")).toStartWith(isJson ? "application/json" : "application/yaml");
  });

  test("GET /v1/export answers JSON in an envelope, and names an unnamed function after its id", async () => {
    const { id } = await server.createFunction(image, { network: "bridge", labels: { $: "${x}" } });
    await server.createRoute("/unnamed", id);
    const reply = await server.api<Manifest>("GET", "/v1/export", undefined, { Accept: "application/json" });
    expect(expectSuccess(reply)).toEqual({
      version: 1,
      functions: { [`unnamed-${id}`]: { image, labels: { $: "$${x}" } } },
      routes: { "/unnamed": { function: `unnamed-${id}` } },
      secrets: [],
    });
    expect(await changed({ manifest: reply.body.data, prune: true })).toEqual([
      `unchanged function unnamed-${id}`,
      "unchanged route /unnamed",
    ]);
    expect(await changed("version: 1", "?prune=true", YAML)).toEqual([]);
    await server.api("DELETE", `/v1/functions/${id}?cascade=true`);
  });

  test("GET /v1/export has the names of secrets, and never their values", async () => {
    await server.api("PUT", "/v1/secrets/token", { value: "open sesame" });
    const text = await (await fetch(`${server.url}/v1/export`)).text();
    expect(text).toContain("secrets:\n  - token\n");
    expect(text).not.toContain("sesame");
    expect(await changed(text, "", YAML)).toEqual([]);
    await server.api("DELETE", "/v1/secrets/token");
  });

  test("POST /v1/export and GET /v1/apply answer 405", async () => {
    expectError(await server.api("POST", "/v1/export"), { status: 405, reason: "method_not_allowed" });
    expectError(await server.api("GET", "/v1/apply"), { status: 405, reason: "method_not_allowed" });
  });
});

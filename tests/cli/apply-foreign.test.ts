import { afterAll, beforeAll, expect, test } from "bun:test";
import { fixture } from "../support/images.ts";
import { TestServer } from "../support/server.ts";
import { Person } from "./support/slipway.ts";

let server: TestServer;
let person: Person;

beforeAll(async () => {
  server = await TestServer.start();
  person = await Person.arrive({ SLIPWAY_URL: server.url });
});

afterAll(async () => {
  await person[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test("apply takes files of other platforms, and says what of them has no counterpart", async () => {
  const image = await fixture("static");
  const stack = `provider: {name: openfaas, gateway: "http://127.0.0.1:8080"}\nfunctions: {of-stack: {image: "${image}"}}`;
  const service = (container: string) =>
    `apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: of-knative}\nspec: {template: {spec: {containers: [${container}]}}}`;
  const knative = service(`{image: "${await fixture("shell")}", command: [httpd, -f, -p, "8080", -h, /etc]}`);
  const compose = `services: {of-compose: {image: "${image}", network_mode: none, labels: [slipway.timeout_ms=5000]}}`;
  const applied = (input: string, ...flags: string[]) =>
    person.types(["apply", "-f", "-", "--skip-probe", ...flags], { input });
  expect(await applied(stack, "--strict")).toMatchObject({ code: 2, stdout: "" });
  expect(await applied(stack)).toMatchObject({
    code: 0,
    stdout: "+ function of-stack\n1 created\n",
    stderr: "! provider.gateway: the server is named by --host and --port, or a saved login\n",
  });
  expect(await applied(knative, "--strict")).toMatchObject({ code: 0, stderr: "" });
  expect(await applied(compose)).toMatchObject({
    code: 0,
    stderr: "! services.of-compose.network_mode: has no counterpart here\n",
  });
  for (const name of ["of-stack", "of-compose"])
    expect((await person.types(["invoke", name, '{"a":1}'])).stdout).toContain('"a"');
  expect(await person.types(["invoke", "of-knative", "--json"])).toMatchObject({
    stdout: expect.stringContaining("404"),
  });
  for (const name of ["of-stack", "of-compose", "of-knative"]) await person.types(["rm", name]);
});

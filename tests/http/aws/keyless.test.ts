import { expect, test } from "bun:test";
import { TestServer } from "../../support/server.ts";

const signed = (key: string) => ({
  Authorization: `AWS4-HMAC-SHA256 Credential=${key}/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00`,
});

test("an access key id may be anything where no key is needed, but not from another site", async () => {
  await using open = await TestServer.start({ DOCKER_HOST: "unix:///nowhere/docker.sock" });
  const get = (headers: Record<string, string>) => fetch(`${open.url}/2015-03-31/functions`, { headers });
  for (const headers of [signed("test"), {}]) expect((await get(headers)).status).toBe(200);
  expect((await get(signed("slipway_unknown"))).status).toBe(403);
  expect((await get({ ...signed("test"), Origin: "https://evil.example" })).status).toBe(403);
});

import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { AppError } from "../../../lib/domain/errors.ts";
import { administrator, type Scope } from "../../../lib/domain/keys.ts";
import { Freshness } from "../../../lib/services/cluster/freshness.ts";
import { checkGuarded, createGuards, resource } from "../../../lib/http/access/guard.ts";

/** A resource, a caller with these scopes, and a list of what the guard did. */
function setUp(...granted: Scope[]) {
  const asked: string[] = [];
  const guard = createGuards({
    access: (request, _server, { scopes }) => {
      asked.push(`${request.method} ${scopes.join()}`);
      if (granted.every((scope) => !scopes.includes(scope))) throw new AppError("forbidden", "No");
      return administrator("k");
    },
    server: () => null,
    unwatch: () => undefined,
    slowReaders: { follow: ({ request }) => void asked.push(`${request.method} followed`) },
    readBody: async (request) => {
      asked.push("body");
      return new Uint8Array(await request.arrayBuffer());
    },
    clientAddress: () => null,
    audit: { changed: () => undefined, refused: () => undefined },
    freshness: new Freshness(null),
  })("/things", { read: ["read"], write: ["deploy"] });
  const things = resource(guard, "things")
    .get("/", ({ request }) => guard.callerOf(request).key_id ?? "nobody", { needs: "read" })
    .get("/all", () => "all", { needs: "read", long: true })
    .get("/now", () => "now", { needs: "read" })
    .post("/", ({ body }) => body, { needs: "write", body: Type.Object({ name: Type.String() }) })
    .delete("/", () => "deleted", { needs: "write" });
  const send = (method: string, body?: string, path = "") =>
    things.handle(new Request(`http://localhost/things${path}`, { method, ...(body !== undefined && { body }) }));
  return { asked, things, guard, send };
}

describe("resource", () => {
  test("checks each endpoint for the scopes that it needs", async () => {
    const { asked, send } = setUp("read");
    expect(await (await send("GET")).text()).toBe("k");
    expect((await send("DELETE")).status).toBe(500);
    expect(asked).toEqual(["GET read", "DELETE deploy"]);
  });

  test("an endpoint whose handler waits for nothing is answered in one turn", () => {
    const { things } = setUp("read");
    const route = things.routes.find(({ path }) => path === "/things/now");
    expect(route?.compile().constructor.name).toBe("Function");
  });

  test("checks a HEAD like a GET", async () => {
    const { asked, send } = setUp("deploy");
    expect((await send("HEAD")).status).toBe(500);
    expect(asked).toEqual(["HEAD read"]);
  });

  test("does not read the body of a request that is refused", async () => {
    const { asked, send } = setUp("read");
    expect((await send("POST", '{"name": "x"}')).status).toBeGreaterThanOrEqual(400);
    expect(asked).toEqual(["POST deploy"]);
  });

  test("reads the body as JSON if the endpoint has a schema for it, and only then", async () => {
    const { asked, send } = setUp("deploy");
    expect(await (await send("POST", '{"name": "x"}')).json()).toEqual({ name: "x" });
    expect(asked.indexOf("body")).toBe(1);
    expect(await (await send("DELETE", "{")).text()).toBe("deleted");
    expect(asked.filter((what) => what === "body")).toHaveLength(1);
  });

  test("follows the answers of endpoints that are marked as long", async () => {
    const { asked, send } = setUp("read");
    await send("GET");
    expect(await (await send("GET", undefined, "/all")).text()).toBe("all");
    expect(asked).toEqual(["GET read", "GET read", "GET followed"]);
  });

  test("throws when asked for the caller of a request that it has not let in", () => {
    const { guard } = setUp();
    expect(() => guard.callerOf(new Request("http://localhost"))).toThrow("does not say what it needs");
  });
});

describe("checkGuarded", () => {
  test("accepts endpoints that state their scopes, and open ones", () => {
    const { things } = setUp();
    const app = new Elysia().use(things).get("/open", () => "open");
    expect(() => checkGuarded(app.routes, ["/open"])).not.toThrow();
  });

  test("refuses an app with an endpoint that does neither", () => {
    const { things, guard } = setUp();
    const forgetful = resource(guard, "things").post("/forgotten", () => "done", {});
    const app = new Elysia()
      .use(things)
      .use(forgetful)
      .all("/r/*", () => "open");
    expect(() => checkGuarded(app.routes, ["/r/*"])).toThrow("No scopes for POST /things/forgotten: say what it needs");
    expect(() => checkGuarded(app.routes, [])).toThrow("POST /things/forgotten, ALL /r/*");
  });
});

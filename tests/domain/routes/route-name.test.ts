import { expect, test } from "bun:test";
import { routeUrl } from "../../../lib/domain/routes/route-name.ts";

test.each([
  [{ path: "/hello", hosts: [] }, "http://127.0.0.1:9999/r/hello"],
  [{ path: "/files/*", hosts: [] }, "http://127.0.0.1:9999/r/files/*"],
  [{ path: "/a b/ä%", hosts: [] }, "http://127.0.0.1:9999/r/a%20b/%C3%A4%25"],
  [{ path: null, hosts: ["a.example.com", "b.example.com"] }, "http://a.example.com:9999/"],
])("the URL of %j is %s", (route, url) => {
  expect(routeUrl("http://127.0.0.1:9999", route)).toBe(url);
});

import { expect, test } from "bun:test";
import { SHOWN_REQUEST_BYTES, shownRequest } from "../../../../lib/domain/calls/views/kept-requests.ts";
import { plainRequest } from "../../../../lib/domain/calls/http-message.ts";

test("a request is shown as text or in base64, with its size, and without credentials", () => {
  const request = { ...plainRequest(Buffer.from("{}")), headers: { "x-name": "é", authorization: "Bearer x" } };
  expect(shownRequest(request)).toEqual({
    method: "POST",
    url: "/",
    headers: { "x-name": "é" },
    body: "{}",
    encoding: "utf-8",
    body_bytes: 2,
    is_cut: false,
  });
  expect(shownRequest(plainRequest(Uint8Array.of(0xff, 0)))).toMatchObject({ body: "/wA=", encoding: "base64" });
});

test("a long body is cut, also in the middle of a character", () => {
  const text = "x" + "é".repeat(SHOWN_REQUEST_BYTES);
  const shown = shownRequest(plainRequest(Buffer.from(text)));
  expect([shown.is_cut, shown.encoding, shown.body_bytes]).toEqual([true, "utf-8", 2 * SHOWN_REQUEST_BYTES + 1]);
  // One byte before the limit a character begins.
  expect(shown.body).toBe("x" + "é".repeat(SHOWN_REQUEST_BYTES / 2 - 1));
});

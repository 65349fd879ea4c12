import { describe, expect, test } from "bun:test";
import { publicError, publicMessage } from "../../../lib/domain/calls/public-message.ts";
import { AppError, REASONS } from "../../../lib/domain/errors.ts";
import { STATUS_OF } from "../../../lib/http/wire/status-of.ts";

/** Words of messages for the owner of a function. */
const PRIVATE =
  'The function\'s secret "db" of image "registry.internal/x:1" cannot run "/opt/run": raise "memory_bytes"';

describe("publicMessage", () => {
  test.each(REASONS.filter((reason) => STATUS_OF[reason] >= 500 && reason !== "shutting_down"))(
    "says nothing about the function for %s",
    (reason) => {
      const shown = publicMessage(reason, PRIVATE);
      expect(shown).not.toMatch(/["/\d]|db|registry|secret|bytes/);
      expect(shown).toMatch(/^[A-Z].{15,}/);
    },
  );

  test.each(REASONS.filter((reason) => ["image_invalid", "image_not_found", "registry_denied"].includes(reason)))(
    "also for %s",
    (reason) => expect(publicMessage(reason, PRIVATE)).not.toContain("registry.internal"),
  );

  test("keeps what is about the request", () => {
    expect(publicMessage("payload_too_large", "The request body is over the limit")).toContain("over the limit");
  });
});

test("publicError keeps reason, time and cause, and passes on what is not ours", () => {
  const cause = new Error("why");
  const shown = publicError(new AppError("engine_unavailable", PRIVATE, { retry_after_s: 7, cause }));
  expect(shown).toMatchObject({ reason: "engine_unavailable", retry_after_s: 7, cause });
  expect(shown.message).not.toContain("registry");
  const other = new TypeError("x");
  expect(publicError(other)).toBe(other);
});

import { describe, expect, test } from "bun:test";
import { afterPull, type Pulled, type PulledImage } from "../../../lib/domain/images/pulled-images.ts";

const TAG = "example.com/app:1";
const [DIGEST_A, DIGEST_B] = ["example.com/app@sha256:a", "example.com/app@sha256:b"];
const ours: PulledImage = { image_id: "A", names: [TAG, DIGEST_A] };

function pulled(image_id: string, brought: boolean, names: Readonly<Record<string, boolean>>): Pulled {
  return { image_id, brought, names: Object.entries(names).map(([name, created]) => ({ name, created })) };
}

describe("afterPull", () => {
  test("records an image that the pull brought, with the names that it created", () => {
    expect(afterPull([], pulled("A", true, { [TAG]: true, [DIGEST_A]: true }))).toEqual([ours]);
  });

  test("records nothing that existed before", () => {
    expect(afterPull([], pulled("A", false, { [TAG]: false, [DIGEST_A]: false }))).toEqual([]);
    expect(afterPull([], pulled("A", false, { [TAG]: true, [DIGEST_A]: true }))).toEqual([]);
  });

  test("does not record a tag that existed on another image, but the new digest", () => {
    expect(afterPull([], pulled("B", true, { [TAG]: false, [DIGEST_B]: true }))).toEqual([
      { image_id: "B", names: [DIGEST_B] },
    ]);
  });

  test("moves a tag of ours to its new image", () => {
    expect(afterPull([ours], pulled("B", true, { [TAG]: false, [DIGEST_B]: true }))).toEqual([
      { image_id: "A", names: [DIGEST_A] },
      { image_id: "B", names: [TAG, DIGEST_B] },
    ]);
  });

  test("forgets a tag of ours that moved to an image that is not ours", () => {
    expect(afterPull([ours], pulled("C", false, { [TAG]: false }))).toEqual([{ image_id: "A", names: [DIGEST_A] }]);
  });

  test("adds a further name to an image of ours", () => {
    const other = "example.com/app:2";
    expect(afterPull([ours], pulled("A", false, { [other]: true, [DIGEST_A]: false }))).toEqual([
      { image_id: "A", names: [TAG, DIGEST_A, other] },
    ]);
  });

  test("changes nothing if an image of ours is pulled again", () => {
    expect(afterPull([ours], pulled("A", false, { [TAG]: false, [DIGEST_A]: false }))).toEqual([ours]);
  });
});

import { expect, test } from "bun:test";
import { checkTag, composeFile, imageName, installScript } from "../../.ci/release/files.ts";
import { inRepository } from "../../.ci/steps.ts";

const compose = await Bun.file(inRepository("docker-compose.yml")).text();
const install = await Bun.file(inRepository(".ci/release/install.sh")).text();

test("the compose file of a release names the image of its repository, and builds nothing", () => {
  const { services } = Bun.YAML.parse(composeFile(compose, "Some-One/Slipway", "1.2.3")) as { services: object }; // ours
  expect(services).toMatchObject({ slipway: { image: "ghcr.io/some-one/slipway:1.2.3" } });
  expect(services).not.toMatchObject({ slipway: { build: expect.anything() } });
  expect(composeFile(compose, undefined, "1.2.3")).toBe(compose);
});

test("the install script of a release knows where its repository's releases are", () => {
  expect(installScript(install, "Some-One/Slipway")).toContain(
    '\nRELEASES="https://github.com/Some-One/Slipway/releases"\n',
  );
  expect(installScript(install, undefined)).toBe(install);
});

test.each(["slipway", "a/b/c", 'a/b"; rm -rf /', "a/$(id)", "", "https://example.com/a"])(
  "%j is not the name of a repository",
  (name) => {
    expect(() => imageName(name)).toThrow("is not the name of a repository");
    expect(() => installScript(install, name)).toThrow("is not the name of a repository");
  },
);

test("a tag is that of the version", () => {
  expect(() => checkTag("v1.2.3", "1.2.3")).not.toThrow();
  expect(() => checkTag("v1.2.4", "1.2.3")).toThrow(
    'The tag "v1.2.4" is not that of the version 1.2.3 in package.json: it would be v1.2.3',
  );
});

import { existsSync } from "node:fs";
import { join } from "node:path";
import { acquireEngine } from "../../../../.ci/engine/engine.ts";
import type { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { copyImages, hashOf, hasImage, importTree, type ImageTree } from "../../../../.ci/engine/image-tree.ts";
import { newestRoot } from "../../../../.ci/engine/newest-root.ts";
import { inPlace, librariesOf } from "../../../../.ci/engine/machine-files.ts";
import { inRepository } from "../../../../.ci/steps.ts";
import { build } from "../../../../.ci/build.ts";
import { BINARY } from "../../../support/program.ts";

/** The image of the process that holds the namespaces of a Pod. */
export const PAUSE_IMAGE = "slipway-test/pause:latest";
/** The names by which the manual's file knows the server, once a user has put an image in, and the engine. */
export const SERVER_IMAGE = "slipway-test/server:1";
const ENGINE_IMAGE = "docker:28-dind";

/** The programs besides the engine that the manual's file and the entrypoint use. */
const PROGRAMS = ["find", "mount", "pidof", "sh", "sleep"];

/** The steps of `docker:28-dind` before it starts the engine, without TLS and on cgroup v1. */
const ENTRYPOINT = `
find /run /var/run -iname 'docker*.pid' -delete || :
mount --make-rshared /
exec docker-init -- "$@"
`;

/** Makes the images of Pods on the engine of the tests. Those in `programs` are Kubernetes's own. */
export async function makeImages(programs: string): Promise<void> {
  const { client } = await acquireEngine();
  await importOnce(client, PAUSE_IMAGE, {
    files: { pause: join(programs, "pause") },
    changes: ['ENTRYPOINT ["/pause"]'],
  });
  await importOnce(client, ENGINE_IMAGE, await engineTree());
  await importOnce(client, SERVER_IMAGE, await serverTree());
}

/** Gives a node the images, as if it had pulled them. */
export async function giveImages(node: EngineClient): Promise<void> {
  const { client } = await acquireEngine();
  await copyImages(client, node, [PAUSE_IMAGE, ENGINE_IMAGE, SERVER_IMAGE]);
}

/** A stand-in for `docker:28-dind`, with Debian's newest engine. Its registries may be those of tests, without TLS. */
async function engineTree(): Promise<ImageTree> {
  const { directory } = await newestRoot();
  const missing = PROGRAMS.filter((name) => !existsSync(join(directory, "usr/bin", name)));
  return {
    trees: { "": directory },
    links: Object.fromEntries(missing.map((name) => [`usr/bin/${name}`, "busybox"])),
    texts: {
      "etc/docker/daemon.json": JSON.stringify({ "insecure-registries": ["10.0.0.0/8"] }),
      "usr/local/bin/dockerd-entrypoint.sh": ENTRYPOINT,
    },
    changes: [
      "ENV PATH=/usr/sbin:/usr/bin",
      "VOLUME /var/lib/docker",
      'ENTRYPOINT ["sh", "/usr/local/bin/dockerd-entrypoint.sh"]',
    ],
  };
}

/** The image of the repository's Dockerfile, from a binary that is compiled here. */
async function serverTree(): Promise<ImageTree> {
  const binary = BINARY ?? (await build(process.arch === "arm64" ? "arm64" : "x64"));
  const [, last = ""] = (await Bun.file(inRepository("Dockerfile")).text()).split("\nCOPY --from=build /rootfs /\n");
  return {
    files: { "usr/local/bin/slipway": binary, ...inPlace(await librariesOf(binary)) },
    directories: { data: 0o777, tmp: 0o1777 },
    changes: last
      .replaceAll(/ *\\\n */g, " ")
      .trim()
      .split("\n"),
  };
}

/** Imports an image unless the engine has it with this very content. */
async function importOnce(client: EngineClient, reference: string, tree: ImageTree): Promise<void> {
  const [name = "", tag = ""] = reference.split(":");
  const known = `slipway-test/kubernetes:${await hashOf(tree)}`;
  const [knownName = "", knownTag = ""] = known.split(":");
  if (!(await hasImage(client, known))) await importTree(client, knownName, knownTag, tree);
  await client.request("POST", `/images/${known}/tag?repo=${name}&tag=${tag}`);
}

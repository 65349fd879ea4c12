import { BUILDER_LABEL } from "../../domain/images/labels.ts";
import type { Unowned } from "../../domain/system/system.ts";
import type { EngineConnection } from "../api/connection.ts";
import { type Containers, OWNER_LABEL } from "../api/containers.ts";
import { listImages } from "../api/images.ts";
import { ISOLATED_PREFIX, labelledNetworks } from "../api/networks.ts";
import { GATE_LABEL, labelledVolumes, VOLUME_LABEL } from "../api/volumes.ts";
import type { KnownThings } from "../../runner/platform.ts";

/** The name that older engines give an image without one. */
const NO_NAME = "<none>:<none>";

interface UnownedDeps {
  readonly connection: EngineConnection;
  readonly containers: Pick<Containers, "listLabelled">;
  /** Returns whether a container is in the ledger of this server. */
  readonly owns: (container: string) => boolean;
  readonly owner: string;
  /** The volume that brings the gate into containers. */
  readonly gate_volume: string;
}

/**
 * Lists what has this server's label on the engine and no owner: containers that are not in its ledger, images of builds
 * that it does not keep, networks and volumes that it does not use. Throws `EngineError` or `engine_unavailable`.
 */
export async function listUnowned(deps: UnownedDeps, known: KnownThings): Promise<Unowned[]> {
  const lists = await Promise.all([
    unownedContainers(deps),
    unownedImages(deps, known),
    unownedNetworks(deps),
    unownedVolumes(deps, known.volumes),
  ]);
  return lists.flat();
}

/** A container may come and go while the engine is asked: only one that is listed twice counts. */
async function unownedContainers({ containers, owns, owner }: UnownedDeps): Promise<Unowned[]> {
  const list = async () => (await containers.listLabelled(owner)).map(({ name }) => name).filter((name) => !owns(name));
  const first = await list();
  if (first.length === 0) return [];
  const second = new Set(await list());
  const problem =
    "This server did not make it, or lost track of it; those with names of ours go at the next sweep, within a minute: " +
    "remove others with `docker rm -f`";
  return first.filter((name) => second.has(name)).map((name) => ({ kind: "container", name, problem }));
}

/**
 * An image is kept from the moment when its build has succeeded, and those of its steps have no name until then: only one that is
 * listed twice counts.
 */
async function unownedImages({ connection, owner }: UnownedDeps, known: KnownThings): Promise<Unowned[]> {
  const list = async () => {
    const wasBuilding = known.isBuilding();
    const images = await listImages(connection, { label: [`${BUILDER_LABEL}=${owner}`] });
    const isBuilding = wasBuilding || known.isBuilding();
    return images
      .map(({ Id, RepoTags }) => ({ id: Id, names: (RepoTags ?? []).filter((name) => name !== NO_NAME) }))
      .filter(({ id, names }) => !known.keepsImage(id) && !(isBuilding && names.length === 0));
  };
  const first = await list();
  if (first.length === 0) return [];
  const second = new Set((await list()).map(({ id }) => id));
  const problem =
    "A build made it or what it was built on, and this server does not keep it: those without a name go after the next build; remove " +
    "others with `docker rmi`";
  return first
    .filter(({ id }) => second.has(id))
    .map(({ id, names: [name = id] }) => ({ kind: "image", name, problem }));
}

async function unownedNetworks({ connection, owner }: UnownedDeps): Promise<Unowned[]> {
  const names = await labelledNetworks(connection, `${OWNER_LABEL}=${owner}`);
  const problem = "No function uses it: remove it with `docker network rm`";
  return names
    .filter((name) => name !== `${ISOLATED_PREFIX}${owner}`)
    .map((name) => ({ kind: "network", name, problem }));
}

async function unownedVolumes(
  { connection, owner, gate_volume }: UnownedDeps,
  named: () => Promise<ReadonlySet<string>>,
): Promise<Unowned[]> {
  const [owned, gates, ofFunctions] = await Promise.all(
    [OWNER_LABEL, GATE_LABEL, VOLUME_LABEL].map((label) => labelledVolumes(connection, `${label}=${owner}`)),
  );
  const unused = "No function names this volume: remove it with `docker volume rm` if nobody needs what is in it";
  const stale = "It brings no gate to containers (CONTEXT_NAME is another one): remove it with `docker volume rm`";
  const labelled = new Set([...(owned ?? []), ...(ofFunctions ?? [])]);
  const known = labelled.size === 0 ? labelled : await named();
  return [
    ...[...labelled]
      .filter((name) => !known.has(name))
      .map((name) => ({ kind: "volume", name, problem: unused }) as const),
    ...(gates ?? [])
      .filter((name) => name !== gate_volume)
      .map((name) => ({ kind: "volume", name, problem: stale }) as const),
  ];
}

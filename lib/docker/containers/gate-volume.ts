import { type Containers, OWNER_LABEL } from "../api/containers.ts";
import { EngineError } from "../api/connection.ts";
import { GATE_LABEL } from "../api/volumes.ts";
import { GATE_DIRECTORY, withoutVolumes } from "../images/volumes.ts";
import type { GateBinary } from "./gate-binary.ts";
import type { OwnContainers } from "./own-containers.ts";

/** The most that a tar archive of one file contains besides the file: headers, padding and its end. */
const TAR_BYTES = 64 * 1024;

interface GateVolumeDeps {
  readonly containers: Containers;
  readonly own_containers: OwnContainers;
  readonly owner: string;
  /** The volume's name. */
  readonly volume: string;
  /** Returns the gate for the engine's architecture. */
  readonly gate: () => Promise<GateBinary>;
}

/** An image that a helper container can be made of. */
export interface HelperImage {
  readonly id: string;
  readonly volumes: readonly string[];
}

/** The images that are remembered as proven: some may be removed. */
const PROVEN = 8;

/**
 * The volume that brings the gate into containers. It is filled through a helper container that is created, never started,
 * and removed: that works with any engine, local or remote, and needs no image of our own.
 *
 * Images are hostile, and what one of them spoils is its own start only:
 * - The helper is made of a *proven* image, one whose container has come up with our gate, where there is one. Before that
 *   each image is its own helper: nobody waits for another's, and the first that succeeds serves all.
 * - An image whose container did not find the gate has the volume checked, and waits for that. The others go on meanwhile:
 *   if the gate is lost, their own starts find out, and join the check.
 */
export class GateVolume {
  readonly #deps: GateVolumeDeps;
  /** The gate that the volume holds, as far as we know. */
  #gate: GateBinary | undefined;
  readonly #found = Promise.withResolvers<void>();
  /** The checks under way, by the images of their helpers. */
  readonly #checks = new Map<string, Promise<void>>();
  /** Counts the checks that found the gate in its place, or put it there. */
  #checked = 0;
  /** The images whose last start suggests that the gate is lost, with the count of checks when it began. */
  readonly #doubters = new Map<string, number>();
  /** The latest is the last. */
  readonly #proven = new Map<string, HelperImage>();

  constructor(deps: GateVolumeDeps) {
    this.#deps = deps;
  }

  /** Fills the volume if necessary, and returns the gate's path in a container of this image. */
  async ensure(image: HelperImage): Promise<string> {
    const doubted = this.#doubters.get(image.id);
    this.#doubters.delete(image.id);
    // A check that has ended since the start that failed has answered its doubt.
    if (this.#gate === undefined || doubted === this.#checked) await this.#check(image);
    const { name } = this.#gate ?? (await this.#deps.gate());
    return `${GATE_DIRECTORY}/${name}`;
  }

  /**
   * Returns a function to call if a start of this image fails in a way that a lost or damaged gate would explain: its next
   * `ensure` checks again. Take it before the start, so that many starts that fail at once cause one check.
   */
  doubt({ id }: HelperImage): () => void {
    const checked = this.#checked;
    return () => void this.#doubters.set(id, checked);
  }

  /** Notes that a container of this image has come up with our gate. One with volumes is not as cheap a helper. */
  prove(image: HelperImage): void {
    if (image.volumes.length > 0 || this.#proven.has(image.id)) return;
    const [oldest] = this.#proven.keys();
    if (oldest !== undefined && this.#proven.size >= PROVEN) this.#proven.delete(oldest);
    this.#proven.set(image.id, image);
  }

  /** Returns the mount of the volume. Without NoCopy an empty volume would be filled from the image, which could bring its own gate. */
  mount(readOnly: boolean): Readonly<Record<string, unknown>> {
    return {
      Type: "volume",
      Source: this.#deps.volume,
      Target: GATE_DIRECTORY,
      ReadOnly: readOnly,
      VolumeOptions: { NoCopy: true, Labels: { [GATE_LABEL]: this.#deps.owner } },
    };
  }

  /** Checks the volume, and fills it if the gate is not in it: one check at a time with each helper. */
  async #check(image: HelperImage): Promise<void> {
    const helper = [...this.#proven.values()].at(-1) ?? image;
    const check = this.#checks.get(helper.id) ?? this.#begin(helper);
    try {
      // Before anyone knows that the volume holds the gate, somebody else's helper may find out first.
      await (this.#gate === undefined ? Promise.race([check, this.#found.promise]) : check);
    } catch (error) {
      if (helper.id === image.id || !(error instanceof EngineError)) throw error;
      // A proven image may have been removed since.
      this.#proven.delete(helper.id);
      await this.#check(image);
    }
  }

  #begin(helper: HelperImage): Promise<void> {
    const check = this.#fill(helper).finally(() => this.#checks.delete(helper.id));
    this.#checks.set(helper.id, check);
    return check;
  }

  async #fill(image: HelperImage): Promise<void> {
    const gate = await this.#deps.gate();
    const helper = await this.#deps.own_containers.create("fill-", {
      Image: image.id,
      Entrypoint: ["/never-started"],
      Cmd: [],
      Labels: { [OWNER_LABEL]: this.#deps.owner },
      HostConfig: { NetworkMode: "none", Mounts: [this.mount(false)], Tmpfs: withoutVolumes(image) },
    });
    try {
      if (!(await this.#holds(helper.id, gate)))
        await this.#deps.containers.unpack(helper.id, GATE_DIRECTORY, await archiveOf(gate));
    } finally {
      this.#deps.own_containers.remove(helper);
    }
    this.#gate = gate;
    this.#checked++;
    this.#found.resolve();
  }

  /** Compares the bytes: after a power cut a file may have its full length and no content. */
  async #holds(containerId: string, { name, bytes }: GateBinary): Promise<boolean> {
    const path = `${GATE_DIRECTORY}/${name}`;
    if ((await this.#deps.containers.fileSize(containerId, path)) !== bytes.length) return false;
    const archive = await this.#deps.containers.pack(containerId, path, bytes.length + TAR_BYTES);
    return archive.indexOf(bytes) !== -1;
  }
}

async function archiveOf(gate: GateBinary): Promise<Buffer> {
  // Loaded here: a volume is filled once, and the server's start need not wait for it.
  const { pack } = await import("tar-stream");
  const archive = pack();
  archive.entry({ name: gate.name, mode: 0o755, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(gate.bytes));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) if (chunk instanceof Uint8Array) chunks.push(chunk);
  return Buffer.concat(chunks);
}

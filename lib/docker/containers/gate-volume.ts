import { type Containers, OWNER_LABEL } from "../api/containers.ts";
import type { GateBinary } from "./gate-binary.ts";
import type { OwnContainers } from "./own-containers.ts";

/** The directory of the gate in a function's container. */
export const GATE_DIRECTORY = "/.slipway";

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

/**
 * The volume that brings the gate into containers. It is filled through a helper container that is created, never started,
 * and removed: that works with any engine, local or remote, and needs no image of our own.
 */
export class GateVolume {
  readonly #deps: GateVolumeDeps;
  #filled: Promise<GateBinary> | undefined;

  constructor(deps: GateVolumeDeps) {
    this.#deps = deps;
  }

  /** Fills the volume if necessary, once, and returns the gate's path in a container. The image only has to exist. */
  async ensure(imageId: string): Promise<string> {
    const filled = (this.#filled ??= this.#fill(imageId));
    try {
      return `${GATE_DIRECTORY}/${(await filled).name}`;
    } catch (error) {
      if (this.#filled === filled) this.#filled = undefined;
      throw error;
    }
  }

  /**
   * Returns a function to call if a start fails in a way that a lost or damaged gate would explain: it makes the next
   * `ensure` check again. Take it before the start, so that many starts that fail at once cause one check.
   */
  doubt(): () => void {
    const trusted = this.#filled;
    return () => {
      if (this.#filled === trusted) this.#filled = undefined;
    };
  }

  /** Returns the mount of the volume. Without NoCopy an empty volume would be filled from the image, which could bring its own gate. */
  mount(readOnly: boolean): Readonly<Record<string, unknown>> {
    return {
      Type: "volume",
      Source: this.#deps.volume,
      Target: GATE_DIRECTORY,
      ReadOnly: readOnly,
      VolumeOptions: { NoCopy: true },
    };
  }

  async #fill(imageId: string): Promise<GateBinary> {
    const gate = await this.#deps.gate();
    const helper = await this.#deps.own_containers.create("fill-", {
      Image: imageId,
      Entrypoint: ["/never-started"],
      Cmd: [],
      Labels: { [OWNER_LABEL]: this.#deps.owner },
      HostConfig: { NetworkMode: "none", Mounts: [this.mount(false)] },
    });
    try {
      if (!(await this.#holds(helper.id, gate)))
        await this.#deps.containers.unpack(helper.id, GATE_DIRECTORY, await archiveOf(gate));
    } finally {
      this.#deps.own_containers.remove(helper);
    }
    return gate;
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

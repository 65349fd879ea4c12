import { type Containers, OWNER_LABEL } from "../api/containers.ts";
import type { GateBinary } from "./gate-binary.ts";
import type { OwnContainers } from "./own-containers.ts";

/** Where a function's container finds the gate. */
export const GATE_DIRECTORY = "/.slipway";

/** What a tar archive of one file has at most beside the file: headers, padding and its end. */
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
 * The volume that brings the gate into containers. It is filled through a helper container that is created, never
 * started, and removed: that works with any engine, near or far, and needs no image of our own.
 */
export class GateVolume {
  readonly #deps: GateVolumeDeps;
  #filled: Promise<GateBinary> | undefined;

  constructor(deps: GateVolumeDeps) {
    this.#deps = deps;
  }

  /** Makes sure that the gate is in the volume, once, and tells its path in a container; the image only has to exist. */
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
   * What to call when a start failed in a way that a lost or spoilt gate would explain: it makes the next `ensure`
   * look again. Take it before the start, so that many who fail at once cause one look.
   */
  doubt(): () => void {
    const trusted = this.#filled;
    return () => {
      if (this.#filled === trusted) this.#filled = undefined;
    };
  }

  /** The mount of the volume. An empty volume would be filled from the image at its mount path, with a gate of the image's own. */
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

  /** By its bytes: after a power cut a file may have its full length and no content. */
  async #holds(containerId: string, { name, bytes }: GateBinary): Promise<boolean> {
    const path = `${GATE_DIRECTORY}/${name}`;
    if ((await this.#deps.containers.fileSize(containerId, path)) !== bytes.length) return false;
    const archive = await this.#deps.containers.pack(containerId, path, bytes.length + TAR_BYTES);
    return archive.indexOf(bytes) !== -1;
  }
}

async function archiveOf(gate: GateBinary): Promise<Buffer> {
  // Loaded here: a volume is filled once, and a start need not wait for it.
  const { pack } = await import("tar-stream");
  const archive = pack();
  archive.entry({ name: gate.name, mode: 0o755, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(gate.bytes));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) if (chunk instanceof Uint8Array) chunks.push(chunk);
  return Buffer.concat(chunks);
}

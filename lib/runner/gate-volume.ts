import { pack } from "tar-stream";
import type { Clock } from "../clock.ts";
import { type Containers, NAME_PREFIX, OWNER_LABEL } from "../engine/containers.ts";

/** Where a function's container finds the gate. */
export const GATE_DIRECTORY = "/.slipway";

/** The gate for the engine's architecture; the name contains its hash, so that versions live side by side. */
export interface GateFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * The volume that brings the gate into containers. It is filled through a helper container that is created, never
 * started, and removed: that works with any engine, near or far, and needs no image of our own.
 */
export class GateVolume {
  readonly #containers: Containers;
  readonly #clock: Clock;
  readonly #owner: string;
  readonly #volume: string;
  readonly #gate: () => Promise<GateFile>;
  #filled: Promise<GateFile> | undefined;

  constructor(options: { containers: Containers; clock: Clock; owner: string; volume: string; gate: () => Promise<GateFile> }) {
    this.#containers = options.containers;
    this.#clock = options.clock;
    this.#owner = options.owner;
    this.#volume = options.volume;
    this.#gate = options.gate;
  }

  /** Makes sure that the gate is in the volume, once, and tells its path in a container; the image only has to exist. */
  async ensure(imageId: string): Promise<string> {
    this.#filled ??= this.#fill(imageId);
    try {
      return `${GATE_DIRECTORY}/${(await this.#filled).name}`;
    } catch (error) {
      this.#filled = undefined;
      throw error;
    }
  }

  /** Forgets that the volume was filled: a start has failed because it was lost. */
  lost(): void {
    this.#filled = undefined;
  }

  /** The mount of the volume. An empty volume would be filled from the image at its mount path, with a gate of the image's own. */
  mount(readOnly: boolean): Readonly<Record<string, unknown>> {
    return {
      Type: "volume",
      Source: this.#volume,
      Target: GATE_DIRECTORY,
      ReadOnly: readOnly,
      VolumeOptions: { NoCopy: true },
    };
  }

  async #fill(imageId: string): Promise<GateFile> {
    const gate = await this.#gate();
    const helper = await this.#containers.create(`${NAME_PREFIX}fill-${this.#clock.uuid()}`, {
      Image: imageId,
      Entrypoint: ["/never-started"],
      Cmd: [],
      Labels: { [OWNER_LABEL]: this.#owner },
      HostConfig: { NetworkMode: "none", Mounts: [this.mount(false)] },
    });
    try {
      const path = `${GATE_DIRECTORY}/${gate.name}`;
      if ((await this.#containers.fileSize(helper, path)) !== gate.bytes.length) {
        await this.#containers.unpack(helper, GATE_DIRECTORY, await archiveOf(gate));
      }
    } finally {
      await this.#containers.remove(helper);
    }
    return gate;
  }
}

async function archiveOf(gate: GateFile): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: gate.name, mode: 0o755, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(gate.bytes));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) if (chunk instanceof Uint8Array) chunks.push(chunk);
  return Buffer.concat(chunks);
}

import { expect, test } from "bun:test";
import fc from "fast-check";
import { cellSpec } from "../../../../lib/docker/containers/cells/cell-spec.ts";
import { containerSpec } from "../../../../lib/docker/containers/container-spec.ts";
import { type Function, FUNCTION_DEFAULTS } from "../../../../lib/domain/functions/functions.ts";
import { contextBytes, gateReserve } from "../../../../lib/domain/functions/isolation.ts";
import { SECRETS_FILES_BYTES } from "../../../../lib/domain/limits.ts";
import { anySettings } from "../../../support/any-settings.ts";

const MIB = 1024 * 1024;
const CONTEXT = "/tmp/context";
const image = {
  entrypoint: [],
  command: ["/bin/true"],
  variables: {},
  exposed_ports: [],
  user: "",
  volumes: ["/data", "/var/lib/x"],
  labels: {},
};

interface Host {
  readonly ShmSize: number;
  readonly Tmpfs: Readonly<Record<string, string>>;
}

/** Returns the sizes in bytes of what a function's cells can write to, besides the context and secrets. */
function sizesOf(settings: Partial<Function>) {
  const at = "2026-01-01T00:00:00.000Z";
  const of = { id: "f", image: "x", image_id: "sha256:1", digest: null, created_at: at, updated_at: at };
  const fn: Function = { ...FUNCTION_DEFAULTS, ...of, ...settings, isolation: "cell", max_calls: 0 };
  const setting = {
    owner: "o",
    image,
    open_files: 65_536,
    gate: "/.slipway/gate",
    gate_mount: {},
    context_root: CONTEXT,
    network: "none",
  };
  const user = { uid: 1000, gid: 1000, groups: [], home: "/" };
  const made = cellSpec(fn, { user, image, context_root: CONTEXT, dropped: [] }, containerSpec(fn, setting));
  const host = made["HostConfig"] as Host; // built by cellSpec
  const scratch = Number(/--cell=(\d+)/.exec((made["Entrypoint"] as string[]).join(" "))?.[1]); // the same
  const readOnly = fn.read_only || fn.sandbox === "strict";
  const temporary = Object.entries(host.Tmpfs)
    .filter(([path]) => readOnly && path !== CONTEXT && path !== "/run/secrets")
    .map(([, options]) => Number(/size=(\d+)/.exec(options)?.[1]));
  return { fn, scratch, shm: host.ShmSize, temporary };
}

test("all that a function can write to in a cell is below its memory, with the gate", () => {
  const secrets = fc.boolean().map((some) => (some ? [{ name: "a", environment: null }] : []));
  fc.assert(
    fc.property(anySettings, secrets, (settings, given) => {
      const { fn, scratch, shm, temporary } = sizesOf({ ...settings, scratch_bytes: null, secrets: given });
      const files = given.length > 0 ? SECRETS_FILES_BYTES : 0;
      const fixed = contextBytes(fn) + files + gateReserve(fn.memory_bytes);
      fc.pre(fn.memory_bytes - fixed > 8 * MIB);
      const all = [scratch, Math.floor(scratch / 4), shm, ...temporary].reduce((sum, bytes) => sum + bytes, fixed);
      expect(all).toBeLessThanOrEqual(fn.memory_bytes);
      for (const bytes of [scratch, shm, ...temporary]) expect(bytes).toBeGreaterThan(0);
    }),
  );
});

test("with the defaults /dev/shm is as large as in a container", () => {
  expect(sizesOf({})).toMatchObject({ scratch: 64 * MIB, shm: 64 * MIB, temporary: [] });
  expect(sizesOf({ memory_bytes: 64 * MIB }).shm).toBeLessThan(32 * MIB);
  expect(sizesOf({ read_only: true }).temporary).toHaveLength(3);
});

import { expect } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { COLLECTED_TIMEOUT_MS } from "../../../lib/domain/limits.ts";
import { eventually, PACE } from "../../support/pace.ts";
import type { TestServer } from "../../support/server.ts";
import { isExpected, mayBeWeaker } from "./expected.ts";
import { differences, isWeaker, normal, probe, type View } from "./probe.ts";

/** The time for a call of the image `probe`. */
export const CALL_MS = Math.min(60_000 * PACE, COLLECTED_TIMEOUT_MS);

/** The things that the function of an image `probe` sees and may do with these settings. */
export async function seenWith(server: TestServer, image: string, settings: Partial<Function>): Promise<View> {
  // A busy machine's engine may have missed a ping.
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200)).toBe(true);
  // The networks that functions have unless they name one.
  const network = settings.sandbox === "strict" ? "none" : "bridge";
  const fn = await server.createFunction(image, { network, ...settings });
  const view = normal(await probe(server, fn, "look_and_escape"));
  await server.api("DELETE", `/v1/functions/${fn.id}`);
  return view;
}

/** Attempts that must fail in every sandbox, whoever makes them. */
const NEVER = [
  /^unshare 0x(?:20000|2000000|4000000|8000000|10000000|20000000|40000000|80)(?: with a user namespace)?$/,
  /^clone 0x(?:20000|2000000|4000000|8000000|10000000|20000000|40000000)$/,
  /^i386 (?:unshare|clone) 0x(?:20000|2000000|4000000|8000000|10000000|20000000|40000000)$/,
  /^(?:remount|share|bind|move|unmount|mount over|open the mount) .*\/|^mount a new /,
  /^try (?:mount|umount|swap|pivot_root|open_tree|clone_tree|open_tree_attr|move_mount|fsopen|fsconfig|fsmount|fspick)$/,
  /^try (?:mount_setattr|sethostname|setdomainname|syslog|quotactl|quotactl_fd|fanotify|bpf_map|perf|userfaultfd)$/,
  /^try (?:add_key|request_key|keyctl_\w+|init_module|finit_module|delete_module|kexec|reboot|acct|settime)$/,
  /^i386 (?:mount|bind mount|remount|umount|ptrace|sethostname|setdomainname|syslog|quotactl|pivot_root|setns|bpf)/,
  /^i386 (?:lookup_dcookie|perf_event_open|fanotify_init|open_by_handle_at|open_tree|move_mount|fs\w+|mount_setattr)/,
  /^(?:trace|seize|read the memory of|write the memory of|take a descriptor of|enter the namespaces of) /,
  /^open (?:by a handle|namespace) /,
  /^own namespace \w+: entered$/,
  /^write file \/(?:proc\/(?:sys\/|sysrq|kcore|irq)|sys\/|dev\/(?:mem|kmsg|fuse|kvm|console|net)|\.slipway)/,
  /^opened for writing: \/(?:proc\/sys|sys)\//,
  /^(?:read|write) (?:root|cwd|mem|environ|exe|fd\/\d+|root\/\S+|cwd\/\S+|ns\/\w+) of process 1$/,
  /^through a ring: \/proc/,
  /^x32 call /,
];

/** Devices that an engine lets a root with MKNOD open: the console of the container and, before 23.0, tunnels. */
const ENGINE_DEVICES = /^device character (?:5:1|10:200) /;

/** Returns the results of a view that no sandbox may have. */
function breaches(view: View): string[] {
  const found = [...view].filter(([name, result]) => {
    if (result.includes("OUTSIDE")) return true;
    if (name.startsWith("device ")) return result.includes("opened ok") && !ENGINE_DEVICES.test(name);
    return /(?:^|\b)ok\b/.test(result) && NEVER.some((pattern) => pattern.test(name));
  });
  return found.map(([name, result]) => `${name}: ${result}`);
}

/** Checks that a hostile function sees and may do in a cell what it does in a container, and gets out of neither. */
export async function expectWalls(server: TestServer, image: string, settings: Partial<Function>): Promise<void> {
  const [container, cell] = await Promise.all([
    seenWith(server, image, settings),
    seenWith(server, image, { ...settings, isolation: "cell" }),
  ]);
  expect(container.size).toBeGreaterThan(3_000);
  expect(breaches(container)).toEqual([]);
  expect(breaches(cell)).toEqual([]);
  const found = differences(container, cell);
  expect(found.filter((one) => isWeaker(one) && !mayBeWeaker(one))).toEqual([]);
  expect(found.filter((one) => !isExpected(one))).toEqual([]);
}

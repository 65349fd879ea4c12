import type { Difference } from "./probe.ts";

/** Differences between a container and a cell that are meant. */
interface Expected {
  readonly name: RegExp;
  /** The result in a container and in a cell; "-" where there is none. */
  readonly container: RegExp;
  readonly cell: RegExp;
  /** True if the two are for each part that differs of a result that tries several things. */
  readonly parts?: true;
  readonly because: string;
  /** True if more is allowed in the cell. */
  readonly weaker?: true;
}

export const EXPECTED: readonly Expected[] = [
  {
    name: /^status: Seccomp_filters$/,
    container: /^1$/,
    cell: /^2$/,
    because: "the cell's own filter comes on top of the engine's",
  },
  {
    name: /^parent's status: (?:Cap|Groups|NoNewPrivs|Uid|Gid|SigBlk|SigIgn)/,
    container: /./,
    cell: /./,
    because: "process 1 is the cell's init, with the gate's user and capabilities: a root in the cell may not trace it",
  },
  {
    name: /^mount \/: (?:filesystem|size|of)$/,
    container: /./,
    cell: /xino=on|^\d+ blocks/,
    because: "the root is an overlay on the image whose upper layer is the scratch space",
  },
  {
    name: /^mount \/(?:dev|dev\/shm|tmp|tmp\/context|data|run\/secrets): (?:filesystem|size)$/,
    container: /./,
    cell: /nr_inodes=|^\d+ blocks \d{3,5} files/,
    because: "every tmpfs is bounded, also in its number of files, and all of them together below the memory",
  },
  {
    name: /^in \/dev: execute$/,
    container: /ok$/,
    cell: /^ENOSPC$/,
    because: "nothing but devices is meant to be in /dev, which is small in a cell whose root is read-only",
  },
  {
    name: /\/sys\/fs\/cgroup(?:$|:|\/ring$)/,
    container: /./,
    cell: /EROFS|^tmpfs ro|flags 102f$|^exits$/,
    because: "cgroup v1's tmpfs there may be written by root in a container, and would carry files over",
  },
  { name: /\/\.slipway/, container: /./, cell: /^-$|ENOENT|^mode 40755/, because: "no path leads to the gate's files" },
  {
    name: /(?: |^)\/data(?:\/file)?(?:$|:)/,
    container: /./,
    cell: /^-$|^mode .* links \d|link ok|^EPERM$/,
    because: "what the image has in a volume is in the overlay: there is no mount and no other filesystem",
    weaker: true,
  },
  {
    name: /^in \/data: create an unnamed file$/,
    container: /^ok$/,
    cell: /^EOPNOTSUPP$/,
    because: "an overlay, as the root of a container is, has no unnamed files before Linux 6.10",
  },
  {
    name: /^in \/\S*: create$|^change \/\S+$/,
    container: /^(?:user attribute|attribute|set it) /,
    cell: /^(?:user attribute|attribute|set it) EOPNOTSUPP$/,
    parts: true,
    because: "a tmpfs has no user attributes before Linux 6.6",
  },
  {
    name: /^mount \/etc\/(?:resolv\.conf|hostname|hosts)/,
    container: /./,
    cell: /^tmpfs|nr_inodes|^\d+ blocks/,
    because: "the engine's files are copied, lest one call change them for the next",
  },
  {
    name: /open_tree_attr$|lsm_modules$|^(?:native|i386) call (?:459|46[017]) with/,
    container: /^ENOSYS$/,
    cell: /^EPERM$/,
    because: "an older engine's profile does not know these calls yet",
  },
  {
    name: /name_to_handle_at$|^a handle of the root$|^native call 303 with|^i386 call 341 with/,
    container: /^(?:EINVAL|EFAULT|EOPNOTSUPP)$/,
    cell: /^EPERM$/,
    because: "newer engines grant handles to everybody, and a cell has no use for them",
  },
  { name: /^x32 call /, container: /^EPERM$/, cell: /^ENOSYS$/, because: "x32 is no architecture of ours" },
  {
    name: /process 1$|^try sched_other$/,
    container: /ok|EACCES/,
    cell: /^(?:EPERM|EACCES|ENOENT)(?:$|, read (?:ENOENT|EACCES))/,
    because:
      "process 1 is the cell's init, which has more capabilities than the function and fewer descriptors than the gate",
  },
];

/** Returns whether a difference is one that is meant. */
export function isExpected(difference: Difference): boolean {
  return EXPECTED.some((rule) => {
    const compared = rule.parts === true ? differentParts(difference) : [difference];
    const meant = compared.every(({ before, after }) => rule.container.test(before) && rule.cell.test(after));
    return rule.name.test(difference.name) && meant;
  });
}

/** Splits a difference into those parts, one for each thing that was tried, that differ. */
function differentParts({ before, after }: Difference): readonly Omit<Difference, "name">[] {
  const [parts, others] = [before.split(", "), after.split(", ")];
  if (parts.length !== others.length) return [{ before, after }];
  return parts.map((part, at) => ({ before: part, after: others[at] ?? "" })).filter((one) => one.before !== one.after);
}

/** Returns whether more is allowed where that is meant. */
export function mayBeWeaker({ name, after }: Difference): boolean {
  return EXPECTED.some((rule) => rule.weaker === true && rule.name.test(name) && rule.cell.test(after));
}

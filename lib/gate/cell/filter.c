/*
 * The filter of system calls of a function in a cell: it takes back what an engine's profile grants with CAP_SYS_ADMIN, which
 * is for the gate alone. Without that capability most of these calls fail anyway; those with user namespaces would not. The
 * same goes for chroot() and CAP_SYS_CHROOT, if the function does not have it.
 *
 * The engine's profile lets two architectures through on each machine, and numbers differ among all four. Any other kills, as
 * engines have it.
 *
 * Owns the program, which is written once for each architecture of machines.
 */
#include "cell.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stddef.h>

/* Bits of clone()'s flags: namespaces of mounts, cgroups, UTS, IPC, users, PIDs and network. That of time, and that which
 * enters a cgroup, exist in other calls only. */
#define NEW_NAMESPACES 0x7E020000U
/* Numbers of x32, a second set on x64. */
#define X32_BIT 0x40000000U
#define NONE (-1)

/* The numbers of an architecture. Those from 424 on are the same everywhere: new ways to mount, and to
 * ask about security modules, which the newest engines grant with CAP_SYS_ADMIN. */
struct numbers {
  uint32_t architecture;
  int clone, mount, umount, umount2, unshare, setns, pivot_root, bpf, perf_event_open, quotactl, fanotify_init;
  int lookup_dcookie, name_to_handle_at, sethostname, setdomainname, syslog, chroot;
};
enum { OPEN_TREE = 428, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK, CLONE3 = 435, MOUNT_SETATTR = 442, QUOTACTL_FD,
       LSM_GET_SELF_ATTR = 459, LSM_SET_SELF_ATTR, LSM_LIST_MODULES, OPEN_TREE_ATTR = 467 };

static const struct numbers X64 = {AUDIT_ARCH_X86_64,
                                   56, 165, NONE, 166, 272, 308, 155, 321, 298, 179, 300, 212, 303, 170, 171, 103, 161};
static const struct numbers I386 = {AUDIT_ARCH_I386,
                                    120, 21, 22, 52, 310, 346, 217, 357, 336, 131, 338, 253, 341, 74, 121, 103, 61};
static const struct numbers ARM64 = {AUDIT_ARCH_AARCH64,
                                     220, 40, NONE, 39, 97, 268, 41, 280, 241, 60, 262, 18, 264, 161, 162, 116, 51};
static const struct numbers ARM = {AUDIT_ARCH_ARM,
                                   120, 21, 22, 52, 337, 375, 218, 386, 364, 131, 367, 249, 370, 74, 121, 103, 61};

/* Each refused number takes two instructions at most, and the tree two more for three of them; all of it twice. */
enum { INSTRUCTIONS = 192 };
static struct sock_filter program[INSTRUCTIONS];
static unsigned short length;

static void add(uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t operand) {
  program[length++] = (struct sock_filter){code, if_true, if_false, operand};
}

static void answer(uint32_t action) { add(BPF_RET | BPF_K, 0, 0, action); }

/* Numbers that are not simply allowed. */
struct rule {
  uint32_t first, last;
  int error; /* 0 for clone(), by whose flags it goes */
};
/* The most rules, and those that are tried one after the other. */
enum { RULES = 32, IN_A_ROW = 3 };

/* Puts a rule in its place by its number. */
static int insert(struct rule rules[RULES], int count, int number, int error) {
  if (number == NONE) return count;
  int at = count;
  for (; at > 0 && rules[at - 1].first > (uint32_t)number; at--) rules[at] = rules[at - 1];
  rules[at] = (struct rule){(uint32_t)number, (uint32_t)number, error};
  return count + 1;
}

/* Makes one rule of those whose numbers follow one another. Returns how many are left. */
static int join(struct rule rules[RULES], int count) {
  int last = 0;
  for (int i = 1; i < count; i++) {
    const bool follows = rules[i].first == rules[last].last + 1 && rules[i].error == rules[last].error;
    if (follows) rules[last].last = rules[i].last;
    else rules[++last] = rules[i];
  }
  return last + 1;
}

static void add_rule(const struct rule *rule) {
  const bool is_range = rule->first < rule->last;
  if (is_range) {
    add(BPF_JMP | BPF_JGE | BPF_K, 0, 2, rule->first);
    add(BPF_JMP | BPF_JGE | BPF_K, 1, 0, rule->last + 1);
  } else {
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, rule->error == 0 ? 4 : 1, rule->first);
  }
  if (rule->error != 0) return answer(SECCOMP_RET_ERRNO | (uint32_t)rule->error);
  add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args)); /* the lower half: all are little-endian */
  add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, NEW_NAMESPACES);
  answer(SECCOMP_RET_ERRNO | EPERM);
  answer(SECCOMP_RET_ALLOW);
}

/* Adds rules as a tree: the kernel runs the filter for every number when it is installed, which is once for each cell. */
static void add_tree(const struct rule *rules, int count) {
  if (count <= IN_A_ROW) {
    for (int i = 0; i < count; i++) add_rule(&rules[i]);
    return answer(SECCOMP_RET_ALLOW);
  }
  const unsigned short branch = length;
  add(BPF_JMP | BPF_JGE | BPF_K, 0, 0, rules[count / 2].first);
  add_tree(rules, count / 2);
  program[branch].jt = (uint8_t)(length - branch - 1);
  add_tree(rules + count / 2, count - count / 2);
}

/* Adds the rules for one architecture. Others pass them over. */
static void add_rules(const struct numbers *of) {
  const int refused[] = {of->mount,     of->umount,          of->umount2,       of->unshare,        of->setns,
                         of->pivot_root, of->bpf,            of->perf_event_open, of->quotactl,     of->fanotify_init,
                         of->lookup_dcookie, of->name_to_handle_at, of->sethostname, of->setdomainname, of->syslog,
                         OPEN_TREE,     MOVE_MOUNT,          FSOPEN,            FSCONFIG,           FSMOUNT,
                         FSPICK,        MOUNT_SETATTR,       QUOTACTL_FD,       OPEN_TREE_ATTR,     LSM_GET_SELF_ATTR,
                         LSM_SET_SELF_ATTR, LSM_LIST_MODULES};
  struct rule rules[RULES];
  int count = 0;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) count = insert(rules, count, refused[i], EPERM);
  if ((cell_setting.dropped >> CAP_SYS_CHROOT & 1) != 0) count = insert(rules, count, of->chroot, EPERM);
  /* Its flags are in memory, where no filter can see them; C libraries fall back to clone. */
  count = insert(rules, count, CLONE3, ENOSYS);
  count = join(rules, insert(rules, count, of->clone, 0));
  add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
  add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, of->architecture);
  const unsigned short jump = length;
  add(BPF_JMP | BPF_JA, 0, 0, 0);
  add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
  if (of->architecture == AUDIT_ARCH_X86_64) {
    add(BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
    answer(SECCOMP_RET_ERRNO | ENOSYS);
  }
  add_tree(rules, count);
  program[jump].k = (uint32_t)(length - jump - 1);
}

/* Returns the filter for x64 machines, or for arm64. */
struct sock_fprog filter_for(bool arm) {
  length = 0;
  add_rules(arm ? &ARM64 : &X64);
  add_rules(arm ? &ARM : &I386);
  answer(SECCOMP_RET_KILL_PROCESS);
  return (struct sock_fprog){length, program};
}

/* Returns the filter for this machine. */
struct sock_fprog cell_filter(void) {
#ifdef __aarch64__
  return filter_for(true);
#else
  return filter_for(false);
#endif
}

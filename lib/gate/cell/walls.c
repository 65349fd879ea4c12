/*
 * The rights that the function's process gives up before it becomes the command, and the descriptors that a cell closes.
 *
 * The order matters: a filter is installed with CAP_SYS_ADMIN or no_new_privs, the bounding set cut with CAP_SETPCAP, and the
 * user changed with CAP_SETUID.
 *
 * Owns no state.
 */
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The most descriptors that the gate has: for a kernel without close_range (before 5.9). */
enum { DESCRIPTORS = 256 };

/* Closes all descriptors above 2 but these. */
void close_all_but(const int *kept, int count) {
  for (int from = 3; from >= 0;) {
    int next = -1;
    for (int i = 0; i < count; i++)
      if (kept[i] >= from && (next < 0 || kept[i] < next)) next = kept[i];
    const unsigned last = next < 0 ? ~0U : (unsigned)next - 1;
    if (next != from && syscall(SYS_close_range, (unsigned)from, last, 0U) < 0)
      for (int fd = from; fd < DESCRIPTORS && (unsigned)fd <= last; fd++) close(fd);
    from = next < 0 ? -1 : next + 1;
  }
}

struct capabilities {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct data[2];
};

static bool get_capabilities(struct capabilities *own) {
  own->header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &own->header, own->data) == 0;
}

static bool set_capabilities(struct capabilities *own) { return syscall(SYS_capset, &own->header, own->data) == 0; }

/* Moves CAP_SYS_ADMIN into the effective set of this process, or out of it. */
void hold_sys_admin(bool held) {
  struct capabilities own;
  if (!get_capabilities(&own)) return;
  const uint32_t bit = 1U << CAP_SYS_ADMIN;
  own.data[0].effective = held ? own.data[0].effective | (own.data[0].permitted & bit) : own.data[0].effective & ~bit;
  set_capabilities(&own);
}

/* Cuts the bounding set: no program, not even a setuid one, gets these capabilities again. */
static bool cut_bounding_set(void) {
  for (int capability = 0; capability < 64; capability++) {
    if ((cell_setting.dropped >> capability & 1) == 0) continue;
    const int had = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (had < 0) return errno == EINVAL; /* this kernel knows no more of them */
    if (had == 1 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return false;
  }
  return true;
}

/* Takes the dropped capabilities out of this process' sets. */
static bool cut_own_sets(void) {
  struct capabilities own;
  if (!get_capabilities(&own)) return false;
  for (int half = 0; half < 2; half++) {
    const uint32_t kept = ~(uint32_t)(cell_setting.dropped >> (32 * half));
    own.data[half].effective &= kept;
    own.data[half].permitted &= kept;
    own.data[half].inheritable &= kept;
  }
  return set_capabilities(&own);
}

/* Sets the groups of the function's user. Newer engines list the primary one among them: then the gate's own, 0, is listed. */
static bool set_groups(void) {
  gid_t groups[640];
  int count = getgroups(640, groups);
  bool with_primary = false;
  for (int i = 0; i < count; i++) with_primary = with_primary || groups[i] == getegid();
  count = 0;
  if (with_primary) groups[count++] = cell_setting.gid;
  for (int i = 0; i < cell_setting.group_count && count < 640; i++)
    if (!with_primary || cell_setting.groups[i] != cell_setting.gid) groups[count++] = cell_setting.groups[i];
  return setgroups((size_t)count, groups) == 0;
}

/* Has the next exec enter the engine's profile, where AppArmor confines containers: the gate itself is not confined. */
static bool enter_profile_at_exec(void) {
  static const char WORDS[] = "exec docker-default";
  char state = 'N';
  int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
  const bool known = fd >= 0 && read(fd, &state, 1) == 1;
  if (fd >= 0) close(fd);
  if (!known || state != 'Y') return true;
  fd = open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC);
  if (fd < 0) fd = open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC); /* before Linux 5.8 */
  const bool done = fd >= 0 && write(fd, WORDS, sizeof WORDS - 1) == (ssize_t)sizeof WORDS - 1;
  if (fd >= 0) close(fd);
  return done;
}

/* Gives up, in this process, what the function does not have. Returns what has failed, with errno, or NULL. */
const char *raise_walls(void) {
  struct sock_fprog filter = cell_filter();
  if (!enter_profile_at_exec()) return "the AppArmor profile docker-default";
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* before Linux 4.3 there are none */
  if (!cut_bounding_set()) return "the bounding set";
  if (!set_groups()) return "the groups";
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0) return "the filter of system calls";
  if (setresgid(cell_setting.gid, cell_setting.gid, cell_setting.gid) < 0) return "the group";
  if (setresuid(cell_setting.uid, cell_setting.uid, cell_setting.uid) < 0) return "the user";
  if (!cut_own_sets()) return "the capabilities";
  return NULL;
}

/*
 * Tries the walls of the first cell, in a process that has given up what a function does not have: an engine, a kernel or a
 * profile that makes less of them than they should be has no cells.
 *
 * Owns no state.
 */
#include "cell.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns whether a call that must be refused was. */
static bool refused(long result, int with) { return result < 0 && errno == with; }

/* Returns what holds not, or NULL. */
const char *probe_walls(void) {
  if (!refused(mount("none", "/tmp", "tmpfs", 0, NULL), EPERM)) return "a function could mount";
  if (!refused(syscall(SYS_unshare, CLONE_NEWUSER), EPERM)) return "a function could make a user namespace";
  if (!refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL), EPERM))
    return "a function could clone into a user namespace";
  if (!refused(syscall(435 /* clone3 */, NULL, 0), ENOSYS)) return "a function could call clone3";
  if (!refused(sethostname("cell", 4), EPERM)) return "a function could set the host name";
  if (!refused(umount2("/proc", MNT_DETACH), EPERM)) return "a function could unmount";
  if (prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) != 0) return "a function could get CAP_SYS_ADMIN";
  if (getuid() != cell_setting.uid || geteuid() != cell_setting.uid || getgid() != cell_setting.gid)
    return "the user is another one";
  if (getppid() != 1) return "there is no PID namespace";
  errno = 0;
  return NULL;
}

/*
 * Makes a cell's root and mounts, in the cell's first process, and makes it the root of that process.
 *
 * Nothing of a function runs in the cell yet. What it could have prepared for this are the directories of a volume that
 * calls share: below those no link is followed.
 *
 * Owns the name of what has failed.
 */
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The new root while it is made, below the scratch space. */
#define ROOT "root"

static bool is_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  return mount(source, target, type, flags, data) == 0;
}

/* Mounts the scratch space over the context's root, where the engine has made a mount point, and goes there. Returns what has
 * failed, or NULL. */
static const char *enter_scratch(const struct plan *plan) {
  char options[96];
  const unsigned long long bytes = cell_setting.scratch, files = bytes / 8192 > 256 ? bytes / 8192 : 256;
  snprintf(options, sizeof options, "mode=700,size=%llu,nr_inodes=%llu", bytes, files);
  if (!is_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return "mounts that no other namespace sees";
  /* gVisor has no nr_inodes, and files without a bound would take the memory of the gate. */
  if (!is_mount("tmpfs", cell_setting.context, "tmpfs", 0, options)) return "a tmpfs with a bound for its files";
  const bool made = chdir(cell_setting.context) == 0 && mkdir(ROOT, 0700) == 0 && mkdir("work", 0700) == 0 &&
                    mkdir("files", 0700) == 0 && mkdir("upper", 0700) == 0 &&
                    chown("upper", plan->root_uid, plan->root_gid) == 0 && chmod("upper", plan->root_mode) == 0;
  return made ? NULL : "the scratch space";
}

/* Mounts the root: an overlay on the container's, or that itself if it is read-only. With `xino` files have the device
 * number of the root, as in a container. */
static bool mount_root(const struct plan *plan) {
  if (plan->read_only)
    return is_mount("/", ROOT, NULL, MS_BIND, NULL) && is_mount(NULL, ROOT, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
  return is_mount("overlay", ROOT, "overlay", 0, "lowerdir=/,upperdir=upper,workdir=work,xino=on");
}

/* Binds to a target that others may have replaced by a link: a directory of a volume. */
static bool share(const char *source, const char *target) {
  char step[PATH_MAX], link[32];
  int at = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char *name = target + sizeof ROOT; at >= 0 && *name != '\0';) {
    const char *end = strchrnul(name, '/');
    snprintf(step, sizeof step, "%.*s", (int)(end - name), name);
    const int next = openat(at, step, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = next;
    name = *end == '/' ? end + 1 : end;
  }
  if (at < 0) return false;
  snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  const bool done = is_mount(source, link, NULL, MS_BIND, NULL);
  close(at);
  return done;
}

/* Binds a copy of a file: two cells must not share one that can be written to. */
static bool copy(const char *source, const char *target, int number) {
  char name[32], bytes[4096];
  struct stat found;
  snprintf(name, sizeof name, "files/%d", number);
  const int from = open(source, O_RDONLY | O_CLOEXEC);
  const int to = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  ssize_t n = -1;
  if (from >= 0 && to >= 0 && fstat(from, &found) == 0)
    while ((n = read(from, bytes, sizeof bytes)) > 0)
      if (write(to, bytes, (size_t)n) != n) break;
  const bool done = n == 0 && fchown(to, found.st_uid, found.st_gid) == 0 && fchmod(to, found.st_mode & 07777) == 0;
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  return done && is_mount(name, target, NULL, MS_BIND, NULL);
}

static bool take(const struct step *step, int number) {
  char target[sizeof ROOT + PATH_MAX];
  snprintf(target, sizeof target, ROOT "%s", step->path);
  switch (step->kind) {
    case FRESH: return is_mount(step->source, target, step->type, step->flags, step->data);
    case BIND: return is_mount(step->source, target, NULL, MS_BIND, NULL);
    case SHARE: return share(step->source, target);
    case TREE: return is_mount(step->source, target, NULL, MS_BIND | MS_REC, NULL);
    case LOCK: return is_mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | step->flags, NULL);
    case COVER:
      return is_mount(target, target, NULL, MS_BIND, NULL) &&
             is_mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | step->flags, NULL);
    case COPY: return copy(step->source, target, number);
    case FOLDER: return mkdir(target, step->mode & 07777) == 0;
    case NODE: return mknod(target, step->mode, step->device) == 0;
    case LINK: return symlink(step->source, target) == 0;
  }
  return false;
}

/* Makes the new root the root of all of this process: engines withhold pivot_root even from CAP_SYS_ADMIN, and gVisor
 * knows nothing else. */
static bool enter_root(void) {
  if (chdir(ROOT) < 0) return false;
  if (mount(".", "/", NULL, MS_MOVE, NULL) == 0) return chroot(".") == 0 && chdir("/") == 0;
  return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
}

/* Makes the cell's root and enters it. Returns what has failed, with errno, or NULL. `places` gets the directories that the
 * gate writes to. */
const char *mount_cell(const struct plan *plan, int places[PLACES]) {
  for (int i = 0; i < PLACES; i++) places[i] = -1;
  const char *failed = enter_scratch(plan);
  if (failed != NULL) return failed;
  if (!mount_root(plan)) return "the root";
  for (int i = 0; i < plan->count; i++)
    if (!take(&plan->steps[i], i)) return plan->steps[i].path;
  if (!enter_root()) return "the change of the root";
  places[CONTEXT_ROOT] = open(cell_setting.context, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  places[SECRETS_ROOT] = open(SECRETS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return places[CONTEXT_ROOT] < 0 ? "the context" : NULL;
}

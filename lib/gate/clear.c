/*
 * Removes what a function can leave behind: files in a directory, and System V's objects, which have no directory.
 *
 * reset.c calls this, and decides what has to be cleared. Everything here is hostile: links are never followed, and
 * there is a limit to how deep and how much we clear.
 *
 * Owns no state.
 */
#include "gate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The most that one function may leave in a directory: beyond this the container is not worth clearing. */
enum { CLEAR_DEPTH = 64, CLEAR_ENTRIES = 10000 };

/* KEPT is what the function cannot have made, and the directories that hold it; STUCK is anything else that stays. */
enum left { GONE, KEPT, STUCK };

static enum left clear(int directory, int depth, int *entries);

/* A mount point (such as the context's root below /tmp, which is cleared separately), or a read-only filesystem. */
static bool is_fixed(int error) { return error == EBUSY || error == EROFS; }

/* Removes one entry. If we have no privileges, what belongs to another user came with the image. */
static enum left clear_entry(int parent, const char *name, int depth, int *entries) {
  struct stat found;
  if (--*entries < 0) return STUCK;
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return GONE;
  bool keep = is_fixed(errno);
  if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0) return STUCK;
  if (geteuid() != 0 && found.st_uid != geteuid()) keep = true;
  if (!S_ISDIR(found.st_mode)) return keep ? KEPT : STUCK;
  int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return keep && faccessat(parent, name, W_OK, 0) < 0 ? KEPT : STUCK;
  enum left inside = clear(directory, depth + 1, entries);
  if (inside == STUCK || unlinkat(parent, name, AT_REMOVEDIR) == 0) return inside == STUCK ? STUCK : GONE;
  return keep || inside == KEPT || is_fixed(errno) ? KEPT : STUCK;
}

/* Empties a directory and closes it. */
static enum left clear(int directory, int depth, int *entries) {
  DIR *stream = depth < CLEAR_DEPTH ? fdopendir(directory) : NULL;
  if (stream == NULL) {
    close(directory);
    return STUCK;
  }
  enum left result = GONE;
  while (result != STUCK) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (entry == NULL) {
      if (errno != 0) result = STUCK;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    enum left one = clear_entry(dirfd(stream), entry->d_name, depth, entries);
    if (one > result) result = one;
  }
  closedir(stream);
  return result;
}

/* Empties the directory at `path`. Returns false if something of the function's would stay. A directory that is
 * missing, or that the function cannot write to, has nothing of it. */
bool clear_directory(const char *path) {
  int entries = CLEAR_ENTRIES;
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT || (errno == EACCES && access(path, W_OK) < 0);
  return clear(directory, 0, &entries) != STUCK;
}

/* Returns whether a directory is empty, or holds only `except`. If it is unreadable, clear_directory() has to judge. */
bool holds_only(const char *path, const char *except) {
  struct {
    uint64_t inode, offset;
    uint16_t length;
    uint8_t type;
    char name[];
  } *entry; /* linux_dirent64 */
  _Alignas(8) char entries[1024];
  long n = -1;
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT;
  while ((n = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
    long at = 0;
    for (; at < n; at += entry->length) {
      entry = (void *)(entries + at);
      if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0 && strcmp(entry->name, except) != 0) break;
    }
    if (at < n) break;
  }
  close(directory);
  return n == 0;
}

static int shm_control(int id, int operation, void *to) { return shmctl(id, operation, to); }
static int msg_control(int id, int operation, void *to) { return msgctl(id, operation, to); }
static int sem_control(int id, int operation, void *to) { return semctl(id, 0, operation, to); }

/* Removes the objects of one kind. `stat_any` needs no permission, which the function may have taken from us; older
 * kernels know only `stat`. */
static bool clear_ipc(int (*control)(int, int, void *), int info, int stat_any, int stat) {
  uint64_t to[64];
  for (int index = control(0, info, to); index >= 0; index--) {
    int id = control(index, stat_any, to);
    if (id < 0) id = control(index, stat, to);
    if (id < 0 ? errno != EINVAL && errno != EIDRM : control(id, IPC_RMID, NULL) < 0) return false;
  }
  return true;
}

/* Removes System V's shared memory, queues and semaphores, which outlive their processes. */
bool clear_ipc_objects(void) {
  return clear_ipc(shm_control, SHM_INFO, SHM_STAT_ANY, SHM_STAT) &&
         clear_ipc(msg_control, MSG_INFO, MSG_STAT_ANY, MSG_STAT) &&
         clear_ipc(sem_control, SEM_INFO, SEM_STAT_ANY, SEM_STAT);
}

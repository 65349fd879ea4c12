/*
 * Removes what a function can leave behind: files in a directory, System V's objects, which have no directory, and what is
 * in flight.
 *
 * A descriptor that was sent through a unix socket and not received lives on until that socket's end; and a unix socket
 * that was sent through itself has no end until the kernel's collector finds it. With it stay the listening sockets and
 * files in its queue: the next call's bind() fails, or space is missing. The collector runs when some unix socket is
 * closed, and not at once. Its end does not show, but what it has collected does: so we leave a piece of garbage of our own
 * with a pipe in it, and wait for the pipe's end.
 *
 * reset.c calls this, and decides what has to be cleared. Everything here is hostile: links are never followed, and
 * there is a limit to how deep and how much we clear.
 *
 * Owns the count of sockets at its lowest, and whether a call has left some.
 */
#include "gate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
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

/* The longest wait for the kernel: its collector and the late close of files take 5 to 12 ms on an idle machine. */
#define COLLECTOR_US (1000 * 1000ULL)

static int sockstat = -1, unix_sockets = -1;
static long lowest = LONG_MAX;
static bool left; /* of the last call */

/* Opens the kernel's lists. Call it before there are other descriptors that come and go. */
void open_socket_lists(void) {
  sockstat = open("/proc/self/net/sockstat", O_RDONLY | O_CLOEXEC);
  unix_sockets = open("/proc/self/net/unix", O_RDONLY | O_CLOEXEC);
}

/* Returns how many sockets the network namespace has, 0 if the kernel does not say: "sockets: used 3\n...". */
static long count_sockets(void) {
  static const char BEFORE[] = "sockets: used ";
  char text[64];
  ssize_t n = sockstat < 0 ? -1 : pread(sockstat, text, sizeof text - 1, 0);
  if (n < 0) return 0;
  text[n] = '\0';
  return strncmp(text, BEFORE, sizeof BEFORE - 1) == 0 ? strtol(text + sizeof BEFORE - 1, NULL, 10) : 0;
}

/* Returns whether one of them is a unix socket. The list begins with a line of titles. */
static bool has_unix_sockets(void) {
  char text[256];
  ssize_t n = unix_sockets < 0 ? -1 : pread(unix_sockets, text, sizeof text, 0);
  const char *first = n < 0 ? NULL : memchr(text, '\n', (size_t)n);
  return first != NULL && first + 1 < text + n;
}

/* Notes whether sockets of a call may be in flight: there are more than at a time when no call had left any, unix sockets
 * among them. Those go before what was in their queues, so look early: before the first run, when a function has ended,
 * and, if it left more, when its last process is dead. It takes 4 us where nothing is left. In a container that shares its
 * network, the sockets may be those of others. */
void look_for_sockets(void) {
  const long now = count_sockets();
  if (now < lowest) lowest = now;
  left = left || (now > lowest && has_unix_sockets());
}

bool sockets_may_be_left(void) { return left; }

/* Sends a unix socket, and a descriptor with it, through itself. Closes the descriptor, and then what starts the collector:
 * so nothing of it is ours when it is collected. */
static bool leave_garbage(int descriptor) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0) return close(descriptor), false;
  const int sent[] = {pair[0], descriptor};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof sent)];
  } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof sent)}};
  memcpy(CMSG_DATA(&control.header), sent, sizeof sent);
  char byte = 0;
  struct iovec text = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  const bool fine = sendmsg(pair[1], &message, MSG_DONTWAIT) == 1;
  close(descriptor);
  close(pair[0]);
  close(pair[1]);
  return fine;
}

/* Waits until the collector has taken what was garbage before. */
static bool await_collector(uint64_t until_us) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  bool fine = leave_garbage(ends[1]);
  struct pollfd end = {.fd = ends[0]};
  const uint64_t now = now_us();
  fine = fine && now < until_us && poll(&end, 1, (int)((until_us - now + 999) / 1000)) == 1;
  close(ends[0]);
  return fine;
}

/* Has everything collected that nobody holds any more. What was in the queue of a collected socket is closed later than
 * the socket, and the order within one turn of the kernel's is not known: so it is done when two turns have changed
 * nothing. Returns false if the kernel takes too long. */
bool collect_sockets(void) {
  const uint64_t until_us = now_us() + COLLECTOR_US;
  long before = LONG_MAX;
  for (int unchanged = 0; unchanged < 2;) {
    if (!await_collector(until_us)) return false;
    const long now = count_sockets();
    unchanged = now < before ? 0 : unchanged + 1;
    before = now;
  }
  left = false;
  return true;
}

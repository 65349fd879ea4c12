/*
 * The check that a cell has left nothing in the network namespace, which calls share.
 *
 * A unix socket can hold files and sockets, and itself, in messages that nobody reads: such a cycle outlives every process.
 * The kernel frees it some time after a unix socket is closed, so this closes one, and counts the sockets. Where other
 * containers share the namespace there is nothing to count, as theirs come and go: there the kernel is only made to look.
 *
 * Owns the count from before the first cell.
 */
#include "cell.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int sockstat = -1;
static long before;
static bool is_shared;

/* Returns the number of sockets of the network namespace, or -1. */
static long count_sockets(void) {
  char text[256];
  const ssize_t n = pread(sockstat, text, sizeof text - 1, 0);
  if (n <= 0) return -1;
  text[n] = '\0';
  const char *at = strstr(text, "used ");
  return at == NULL ? -1 : strtol(at + 5, NULL, 10);
}

/* States of TCP sockets, as the kernel numbers them. */
enum { TIME_WAIT = 6, NEW_SYN_RECV = 12 };

/* Counts the TCP sockets that have no owner any more, and only send what is left: they are no cycle, and end by themselves. */
static long count_orphans(const char *path) {
  FILE *list = fopen(path, "re");
  char line[512];
  long count = 0;
  while (list != NULL && fgets(line, sizeof line, list) != NULL) {
    unsigned state;
    unsigned long inode;
    if (sscanf(line, " %*d: %*s %*s %x %*s %*s %*s %*d %*d %lu", &state, &inode) != 2) continue;
    if (inode == 0 && state != TIME_WAIT && state != NEW_SYN_RECV) count++;
  }
  if (list != NULL) fclose(list);
  return count;
}

static void wake_collector(void) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return;
  close(ends[0]);
  close(ends[1]);
}

/* Counts the sockets before the first cell. */
bool note_sockets(bool shared) {
  is_shared = shared;
  sockstat = open("/proc/self/net/sockstat", O_RDONLY | O_CLOEXEC);
  before = sockstat < 0 ? -1 : count_sockets();
  return before >= 0;
}

/* Takes fewer sockets as those before the first cell: while a container starts, its engine may have one open there (the
 * newest has), and a call must not be able to leave one in its place. */
void note_fewer_sockets(int own) {
  if (is_shared) return;
  const long now = count_sockets();
  if (now >= own && now - own < before) before = now - own;
}

/* Returns whether there are more sockets than before, besides the gate's `own`. */
bool cell_left_sockets(int own) {
  if (is_shared) wake_collector();
  if (is_shared) return false;
  long now = count_sockets();
  if (now <= before + own) return false;
  wake_collector();
  now = count_sockets();
  return now > before + own + count_orphans("/proc/self/net/tcp") + count_orphans("/proc/self/net/tcp6");
}

/*
 * Spare connections: one that is left when its stream has been closed may serve the next stream, so that the app has fewer of them.
 *
 * They are spare for a moment only, far shorter than any app waits for another request before it closes: a request on its way to
 * a connection that is being closed is lost. They are closed before the app is frozen, and before it is told to end, as it may wait
 * for the end of its connections.
 *
 * Owns the spare connections.
 */
#include "boot.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static struct spare {
  int fd;
  uint64_t since_us;
} spares[STREAMS_MOST]; /* the oldest first */
static int count;

static void drop_first(int dropped) {
  for (int i = 0; i < dropped; i++) close_fd(&spares[i].fd);
  count -= dropped;
  memmove(spares, spares + dropped, (size_t)count * sizeof *spares);
}

/* Keeps a connection for a moment. */
void add_spare(int fd) {
  if (count == STREAMS_MOST) drop_first(1);
  spares[count++] = (struct spare){.fd = fd, .since_us = now_us()};
}

/* Returns the connection that was used last, or -1. One that has ended, or on which the app has said more, is none. */
int take_spare(void) {
  char byte;
  while (count > 0) {
    int fd = spares[--count].fd;
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) return fd;
    close_fd(&fd);
  }
  return -1;
}

void drop_spares(void) { drop_first(count); }

/* Closes those that nobody has asked for in their time. */
void drop_old_spares(void) {
  const uint64_t now = now_us();
  int old = 0;
  while (old < count && spares[old].since_us + SPARE_US <= now) old++;
  if (old > 0) drop_first(old);
}

/* Returns the milliseconds until drop_old_spares() has something to do, or -1. */
int spares_ms(void) {
  if (count == 0) return -1;
  const uint64_t now = now_us(), until = spares[0].since_us + SPARE_US;
  return until <= now ? 0 : (int)((until - now + 999) / 1000);
}

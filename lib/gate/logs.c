/*
 * The function's stdout and stderr: two pipes, sent on as LOG frames up to the call's limit.
 *
 * function.c opens them for each process that it forks, main.c reads them while the function runs, and drains them
 * after its exit.
 *
 * Owns the pipes, what is left of the limit, and the count of dropped bytes.
 */
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The most that a pipe can hold without privileges (fs.pipe-max-size): more than this is not read after the exit. */
enum { DRAIN_MAX = 1 << 20 };

/* We also keep the function's end of each pipe open. Otherwise its exit would wake us once for each pipe that
 * closes, before the wake-up that counts. */
static struct log {
  int fd, function_end;
  uint8_t stream;
  size_t drained;
} logs[LOGS] = {{-1, -1, 1, 0}, {-1, -1, 2, 0}};
static uint32_t left;
static uint64_t dropped;

bool open_logs(void) {
  for (struct log *log = logs; log < logs + LOGS; log++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    log->fd = ends[0];
    log->function_end = ends[1];
    fcntl(log->fd, F_SETFL, O_NONBLOCK); /* our end only: the function's must block */
  }
  return true;
}

int log_fd(int which) { return logs[which].fd; }

int log_function_end(int which) { return logs[which].function_end; }

/* Sets the most output to send on in this call. */
void limit_logs(uint32_t bytes) { left = bytes; }

uint64_t log_bytes_dropped(void) { return dropped; }

/* Makes ready for the next call. */
void reset_logs(void) {
  dropped = 0;
  for (struct log *log = logs; log < logs + LOGS; log++) log->drained = 0;
}

/* Returns whether to read the pipes now. Below the limit the function has to wait until the server keeps up; beyond it
 * output is dropped, which needs no room. */
bool logs_may_flow(void) { return left == 0 || payload_room(PAYLOAD_MAX) != NULL; }

static void close_log(struct log *log) {
  close_fd(&log->fd);
  close_fd(&log->function_end);
}

/* Reads once from a pipe, if logs_may_flow(). Returns the number of bytes, 0 if there are none now. */
static size_t read_pipe(struct log *log) {
  static uint8_t beyond[PAYLOAD_MAX]; /* output that is dropped */
  size_t keep = left < PAYLOAD_MAX - 1 ? left : PAYLOAD_MAX - 1;
  uint8_t *payload = keep > 0 ? payload_room(1 + keep) : NULL;
  ssize_t n = payload != NULL ? read(log->fd, payload + 1, keep) : read(log->fd, beyond, sizeof beyond);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    close_log(log);
    return 0;
  }
  if (payload != NULL) {
    payload[0] = log->stream;
    commit_frame(LOG, 1 + (size_t)n);
    left -= (uint32_t)n;
  } else {
    dropped += (uint64_t)n;
  }
  return (size_t)n;
}

void read_log(int which) { read_pipe(&logs[which]); }

/* Takes what the pipes still hold after the exit and closes them. It stops at DRAIN_MAX: a process that has a pipe
 * open now may write forever. Returns false while the buffer of frames is full. */
bool drain_logs(void) {
  for (struct log *log = logs; log < logs + LOGS; log++) {
    while (log->fd >= 0) {
      if (!logs_may_flow()) return false;
      size_t n = read_pipe(log);
      log->drained += n;
      if (log->fd >= 0 && (n == 0 || log->drained >= DRAIN_MAX)) close_log(log);
    }
  }
  return true;
}

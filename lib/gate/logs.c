/*
 * The function's stdout and stderr: two pipes, sent on as LOG frames up to the call's limit (contracts/stdio.c takes
 * stdout where that is the answer). Of what comes after that
 * the last bytes are kept and sent as TAIL frames when the function has ended: an error is usually told at the end.
 *
 * function.c opens them for each process that it forks, main.c reads them while the function runs, and drains them
 * after its exit.
 *
 * Owns the pipes, what is left of the limit, the tail, and the count of bytes beyond the limit.
 */
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

/* The tail: a ring of bytes, and a ring of the pieces that they came in. A page of either that is never written takes no
 * memory. */
enum { TAIL_MAX = 2 << 20, PIECES = 4096, TAIL_HEADER = 5 };
#define PIECE_US 10000 /* output of one stream within this time is one piece */
static struct piece {
  uint64_t read_us; /* when its first byte was read */
  uint32_t length;
  uint8_t stream;
} pieces[PIECES];
static uint8_t tail[TAIL_MAX];
static size_t tail_size, tail_start, tail_used, first_piece, piece_count;

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

/* Takes the pipes of a cell. */
void adopt_logs(const int fds[LOGS], const int function_ends[LOGS]) {
  for (int i = 0; i < LOGS; i++) {
    logs[i].fd = fds[i];
    logs[i].function_end = function_ends[i];
  }
}

int log_fd(int which) { return logs[which].fd; }

int log_function_end(int which) { return logs[which].function_end; }

/* Sets the most output to send on in this call. Half as much is kept of what comes after it. */
void limit_logs(uint32_t bytes) {
  left = bytes;
  tail_size = bytes / 2 < TAIL_MAX ? bytes / 2 : TAIL_MAX;
}

uint64_t log_bytes_dropped(void) { return dropped; }

/* Makes ready for the next call. */
void reset_logs(void) {
  dropped = 0;
  tail_start = tail_used = first_piece = piece_count = 0;
  for (struct log *log = logs; log < logs + LOGS; log++) log->drained = 0;
}

/* Returns whether to read the pipes now. Below the limit the function has to wait until the server keeps up; beyond it
 * output is dropped, which needs no room; an answer is not. */
bool logs_may_flow(void) { return (left == 0 && !given.stdio) || payload_room(PAYLOAD_MAX) != NULL; }

static void close_log(struct log *log) {
  close_fd(&log->fd);
  close_fd(&log->function_end);
}

/* Removes the oldest bytes of the tail. */
static void forget(size_t bytes) {
  tail_start = (tail_start + bytes) % tail_size;
  tail_used -= bytes;
  while (bytes > 0) {
    struct piece *oldest = &pieces[first_piece];
    size_t taken = oldest->length < bytes ? oldest->length : bytes;
    oldest->length -= (uint32_t)taken;
    bytes -= taken;
    if (oldest->length > 0) return;
    first_piece = (first_piece + 1) % PIECES;
    piece_count--;
  }
}

/* Returns the piece that output belongs to that is read now. */
static struct piece *piece_for(uint8_t stream) {
  const uint64_t now = now_us();
  struct piece *newest = &pieces[(first_piece + piece_count + PIECES - 1) % PIECES];
  if (piece_count > 0 && newest->stream == stream && now - newest->read_us < PIECE_US) return newest;
  if (piece_count == PIECES) forget(pieces[first_piece].length);
  newest = &pieces[(first_piece + piece_count++) % PIECES];
  *newest = (struct piece){.read_us = now, .stream = stream};
  return newest;
}

/* Keeps output beyond the limit, as far as it fits, in place of the oldest. */
static void keep_tail(uint8_t stream, const uint8_t *bytes, size_t length) {
  if (tail_size == 0) return;
  if (length > tail_size) {
    bytes += length - tail_size;
    length = tail_size;
  }
  if (tail_used + length > tail_size) forget(tail_used + length - tail_size);
  piece_for(stream)->length += (uint32_t)length;
  const size_t end = (tail_start + tail_used) % tail_size;
  const size_t before_wrap = length < tail_size - end ? length : tail_size - end;
  memcpy(tail + end, bytes, before_wrap);
  memcpy(tail, bytes + before_wrap, length - before_wrap);
  tail_used += length;
}

/* Moves the tail into the buffer of frames. Returns false while that is full. */
bool feed_tail(void) {
  uint8_t *payload;
  while (piece_count > 0) {
    const struct piece *oldest = &pieces[first_piece];
    if ((payload = payload_room(PAYLOAD_MAX)) == NULL) return false;
    size_t length = oldest->length < PAYLOAD_MAX - TAIL_HEADER ? oldest->length : PAYLOAD_MAX - TAIL_HEADER;
    if (length > tail_size - tail_start) length = tail_size - tail_start;
    const uint64_t age_ms = (now_us() - oldest->read_us) / 1000;
    put(put(payload, oldest->stream, 1), age_ms < UINT32_MAX ? age_ms : UINT32_MAX, 4);
    memcpy(payload + TAIL_HEADER, tail + tail_start, length);
    commit_frame(TAIL, TAIL_HEADER + length);
    forget(length);
  }
  return true;
}

/* Reads once from a pipe that is a log, as read() does. */
static ssize_t read_piece(struct log *log) {
  static uint8_t beyond[PAYLOAD_MAX]; /* output that is dropped */
  size_t keep = left < PAYLOAD_MAX - 1 ? left : PAYLOAD_MAX - 1;
  uint8_t *payload = keep > 0 ? payload_room(1 + keep) : NULL;
  ssize_t n = payload != NULL ? read(log->fd, payload + 1, keep) : read(log->fd, beyond, sizeof beyond);
  if (n <= 0) return n;
  if (payload != NULL) {
    payload[0] = log->stream;
    commit_frame(LOG, 1 + (size_t)n);
    left -= (uint32_t)n;
  } else {
    dropped += (uint64_t)n;
    keep_tail(log->stream, beyond, (size_t)n);
  }
  return n;
}

/* Reads once from a pipe, if logs_may_flow(). Returns the number of bytes, 0 if there are none now. */
static size_t read_pipe(struct log *log) {
  ssize_t n = given.stdio && log == logs ? read_output(log->fd) : read_piece(log);
  if (n > 0) return (size_t)n;
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) close_log(log);
  return 0;
}

/* Returns whether there was something. */
bool read_log(int which) { return read_pipe(&logs[which]) > 0; }

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

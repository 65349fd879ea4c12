/*
 * The answer: EXIT, then the files that the function left as its response.
 *
 * main.c calls send_exit() once the output is drained, and feed_answer() as often as the buffer of frames has room.
 *
 * Owns the response files that are open, and how much of them is still to be sent.
 */
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* States of a response file in EXIT. */
enum { FILE_FINE = 0, FILE_MISSING = 1, FILE_IRREGULAR = 2, FILE_LARGE = 3, FILE_UNREADABLE = 4 };

struct file {
  int fd;
  uint32_t left;
};
static struct file meta = {-1, 0}, response = {-1, 0};

/* Opens a response file. Looking before the open keeps us away from devices and pipes, whose mere opening has effects;
 * looking after it is what counts, as another file may have got the name in between. */
static uint8_t open_file(struct file *file, const char *name, uint32_t limit) {
  struct stat found;
  if (fstatat(context_descriptor(), name, &found, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? FILE_MISSING : FILE_UNREADABLE;
  if (!S_ISREG(found.st_mode)) return FILE_IRREGULAR;
  file->fd = openat(context_descriptor(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (file->fd < 0 || fstat(file->fd, &found) < 0) return FILE_UNREADABLE;
  if (!S_ISREG(found.st_mode)) return FILE_IRREGULAR;
  if (found.st_size > (off_t)limit) return FILE_LARGE; /* by its size: a sparse terabyte costs nothing */
  file->left = (uint32_t)found.st_size;
  return FILE_FINE;
}

static uint64_t microseconds(struct timeval time) { return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec; }

/* Opens the response files, unless the answer was the output, and sends EXIT, which describes it. */
void send_exit(void) {
  uint8_t payload[64], *at = payload;
  const struct outcome *outcome = function_outcome();
  const int status = outcome->status;
  const uint32_t oom_kills = oom_kills_in_call();
  uint8_t meta_state = FILE_MISSING, state = output_was_too_much() ? FILE_LARGE : FILE_FINE;
  bool made_body = true;
  if (!given.stdio && !given.boot) {
    meta_state = open_file(&meta, "response.meta.json", PAYLOAD_MAX);
    state = open_file(&response, "response.body", response_limit());
    made_body = state != FILE_MISSING;
    if (!made_body) state = open_file(&response, "response.json", response_limit());
  }
  at = put(at, WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 0, 1);
  at = put(at, WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0, 1);
  at = put(at, oom_kills, 4);
  at = put(at, microseconds(outcome->usage.ru_utime), 8);
  at = put(at, microseconds(outcome->usage.ru_stime), 8);
  at = put(at, (uint64_t)outcome->usage.ru_maxrss * 1024, 8);
  at = put(at, outcome->wall_us, 8);
  at = put(at, log_bytes_dropped(), 8);
  at = put(at, meta_state, 1);
  at = put(at, meta.left, 4);
  at = put(at, made_body, 1);
  at = put(at, state, 1);
  at = put(at, response.left, 4);
  send_control(EXIT, payload, (size_t)(at - payload));
  enter(ANSWERING);
}

/* Moves a file into the buffer of frames as far as there is room, in frames that are as long as they can be. */
static void feed(uint8_t type, struct file *file) {
  uint8_t *payload;
  while (file->left > 0 && (payload = payload_room(PAYLOAD_MAX)) != NULL) {
    size_t length = file->left < PAYLOAD_MAX ? file->left : PAYLOAD_MAX;
    for (size_t got = 0; got < length;) {
      ssize_t n = read(file->fd, payload + got, length - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) leave(); /* it is shorter than EXIT promised; the server sees an answer that breaks off */
      got += (size_t)n;
    }
    commit_frame(type, length);
    file->left -= (uint32_t)length;
  }
}

/* Moves as much of the response files into the buffer of frames as it can hold. */
void feed_answer(void) {
  feed(META, &meta);
  if (meta.left == 0) feed(RESPONSE, &response);
}

/* Returns whether part of the response files is not in the buffer yet. */
bool answer_is_left(void) { return meta.left > 0 || response.left > 0; }

void close_answer(void) {
  close_fd(&response.fd);
  close_fd(&meta.fd);
}

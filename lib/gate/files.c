/*
 * The context directory, and the files that a request brings: the body, and those of FILE frames.
 *
 * request.c fills them. The function owns the directory as soon as it runs, so that nothing in it can be trusted then:
 * answer.c and reset.c look at it through the descriptor that is kept here, which no rename can redirect.
 *
 * Owns the context's path and descriptors, and the file that FILE frames are filling.
 */
#include "cell/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum { PLACE_CONTEXT = 1, PLACE_SECRETS = 2, PLACE_WATCHDOG_SECRETS = 3 };
enum { NEW_FILE = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC };

static char path[PATH_MAX];
static const char *id; /* the last component of `path` */
static int context_fd = -1, body_fd = -1;
static struct {
  int fd;
  uint8_t place;
  char name[NAME_MAX + 1];
} filling = {-1, 0, ""};
static bool secrets_given; /* in any call so far: SECRETS is ours to clear */

/* Sets the path. Both parts together are shorter than PATH_MAX, the slash between them included. */
void name_context(const char *root, size_t root_length, const char *name, size_t name_length) {
  snprintf(path, sizeof path, "%.*s/%.*s", (int)root_length, root, (int)name_length, name);
  id = path + root_length + 1;
}

const char *context_path(void) { return path; }

const char *context_id(void) { return id; }

/* Writes the part of the path before the id. */
void context_root(char root[PATH_MAX]) { snprintf(root, PATH_MAX, "%.*s", (int)(id - path - 1), path); }

int context_descriptor(void) { return context_fd; }

bool secrets_were_given(void) { return secrets_given; }

void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Closes what is open for writing, once the request is complete. */
void close_request_files(void) {
  close_fd(&body_fd);
  close_fd(&filling.fd);
}

void close_context(void) { close_fd(&context_fd); }

/* Writes to a file of ours. Fails the call if a tmpfs is full, or the container's memory limit is reached. */
static bool write_bytes(int fd, const void *bytes, size_t length, uint8_t stage) {
  for (const uint8_t *at = bytes; length > 0;) {
    ssize_t n = write(fd, at, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fail(stage, n < 0 ? errno : ENOSPC);
      return false;
    }
    at += n;
    length -= (size_t)n;
  }
  return true;
}

/* Adds to request.json. */
bool write_body(const uint8_t *bytes, size_t length) { return write_bytes(body_fd, bytes, length, FAILED_REQUEST); }

/* Gives what was made to the function's user, where that is not ours. */
static bool give(int fd) { return !cells_are_on() || fchown(fd, cell_setting.uid, cell_setting.gid) == 0; }

static int make_at(int directory, const char *name, mode_t mode) {
  const int fd = openat(directory, name, NEW_FILE, mode);
  if (fd >= 0 && !give(fd)) {
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

/* Makes request.body. It is a second name of request.json, which takes no memory; but if the body is empty,
 * request.json holds a "{}" that nobody sent, and request.body is a file of its own. */
static bool make_body_file(bool empty_body) {
  if (!empty_body) return linkat(context_fd, "request.json", context_fd, "request.body", 0) == 0;
  int fd = make_at(context_fd, "request.body", 0666);
  return fd >= 0 && close(fd) == 0;
}

static bool context_failed(void) {
  fail(FAILED_CONTEXT, errno);
  return false;
}

/* Makes the context's directory and opens it. That of a cell is reached through a descriptor from before its function. */
static int make_directory(void) {
  if (!cells_are_on()) return mkdir(path, 0777) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  char told[PATH_MAX];
  context_root(told);
  errno = EINVAL;
  if (strcmp(told, cell_setting.context) != 0 || !take_next_cell()) return -1;
  const int root = cell_place(CONTEXT_ROOT);
  if (mkdirat(root, id, 0777) < 0) return -1;
  const int fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd >= 0 && give(fd) ? fd : -1;
}

/* Makes the context. Anyone may read and write there: the image may switch to another user than ours, and ours may be
 * any. Returns false if the call has failed. */
bool make_context(void) {
  context_fd = make_directory();
  return context_fd >= 0 || context_failed();
}

/* Makes the files of the contract `files`. Returns false if the call has failed. */
bool make_files(bool empty_body, bool body_file) {
  body_fd = make_at(context_fd, "request.json", 0666);
  int response = body_fd < 0 ? -1 : make_at(context_fd, "response.json", 0666);
  if (response < 0) return context_failed();
  if (!write_bytes(response, "{}", 2, FAILED_REQUEST)) return false;
  close(response);
  if (body_file && !make_body_file(empty_body)) return context_failed();
  return !empty_body || write_body((const uint8_t *)"{}", 2);
}

/* Opens a directory for secrets. A secret must never reach a disk, so it has to be a tmpfs. */
static int open_secrets(uint8_t place) {
  struct statfs found;
  const char *directory = place == PLACE_SECRETS ? SECRETS : WATCHDOG_SECRETS;
  int fd = cells_are_on() ? fcntl(cell_place(SECRETS_ROOT), F_DUPFD_CLOEXEC, 3) : open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || (fstatfs(fd, &found) == 0 && found.f_type == TMPFS_MAGIC)) return fd;
  close(fd);
  errno = ENODEV;
  return -1;
}

static int make_secret(uint8_t place, const char *name) {
  int directory = open_secrets(place);
  secrets_given = true;
  if (directory < 0) return -1;
  int fd = make_at(directory, name, 0444);
  int error = errno;
  close(directory);
  errno = error;
  return fd;
}

static uint8_t stage_of(uint8_t place) { return place == PLACE_CONTEXT ? FAILED_REQUEST : FAILED_SECRETS; }

/* Makes a file for the function and leaves it open, as more of it may follow. */
static void make_file(uint8_t place, const char *name) {
  close_fd(&filling.fd);
  filling.fd = place == PLACE_CONTEXT ? make_at(context_fd, name, 0666) : make_secret(place, name);
  filling.place = place;
  strcpy(filling.name, name);
  if (filling.fd < 0) fail(errno == EEXIST ? FAILED_FRAMES : stage_of(place), errno);
}

/* Takes FILE: a file for the function, or more of the one before. Returns false if its name or place is not valid. */
bool take_file(const uint8_t *payload, uint32_t length) {
  char name[NAME_MAX + 1];
  const uint32_t name_length = length < 3 ? 0 : get16(payload + 1);
  if (name_length == 0 || name_length > NAME_MAX || length < 3 + name_length) return false;
  const uint8_t place = payload[0];
  if (place != PLACE_SECRETS && place != (given.boot ? PLACE_WATCHDOG_SECRETS : PLACE_CONTEXT)) return false;
  memcpy(name, payload + 3, name_length);
  name[name_length] = '\0';
  if (strlen(name) != name_length || strchr(name, '/') != NULL) return false;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  if (filling.fd < 0 || filling.place != place || strcmp(filling.name, name) != 0) make_file(place, name);
  const uint32_t start = 3 + name_length;
  if (filling.fd >= 0) write_bytes(filling.fd, payload + start, length - start, stage_of(place));
  return true;
}

/*
 * Extensions: the programs in /opt/extensions, which run beside an app that asks for its calls. They start before its command, as
 * processes of their own with its variables and log, and the server says when the command may follow (START): they have
 * registered with it by then. The gate says how each of them has ended.
 *
 * The end of the command is the end of all. But a FINISH may name extensions that are to have some time for their own end: the
 * command's is kept until then.
 *
 * Owns the list of extensions and their processes, and the end of a command that waits for them.
 */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER "/opt/extensions"
/* The most extensions, as on AWS, and the most entries of their folder that are looked at. */
enum { EXTENSIONS_MOST = 10, ENTRIES_MOST = 4096 };
enum { END_SIZE = 7 };

static struct extension {
  char name[NAME_MAX + 1];
  pid_t pid;       /* 0 once it has ended */
  int errno_fd;    /* says why it could not be executed */
  bool is_awaited; /* the end of the command waits for its own */
} extensions[EXTENSIONS_MOST];
static int count;    /* how many were found; more than the most are not started */
static bool waiting; /* the command waits for START */

/* The end of the command, while extensions are awaited. */
static bool has_ended;
static int ended_status;
static struct rusage ended_usage;

static int started(void) { return count <= EXTENSIONS_MOST ? count : 0; }

static int compare_names(const void *one, const void *other) {
  return strcmp(((const struct extension *)one)->name, ((const struct extension *)other)->name);
}

/* Lists the regular files of the folder, and what links lead to, in the order of their names. */
static void list_extensions(void) {
  struct stat stat;
  DIR *folder = opendir(FOLDER);
  if (folder == NULL) return;
  const struct dirent *entry;
  for (int seen = 0; seen < ENTRIES_MOST && (entry = readdir(folder)) != NULL; seen++) {
    if (fstatat(dirfd(folder), entry->d_name, &stat, 0) < 0 || !S_ISREG(stat.st_mode)) continue;
    if (count < EXTENSIONS_MOST) memcpy(extensions[count].name, entry->d_name, strlen(entry->d_name) + 1);
    count++;
  }
  closedir(folder);
  qsort(extensions, (size_t)started(), sizeof *extensions, compare_names);
}

static void announce_extensions(void) {
  uint8_t *payload = payload_room(1 + 2 + EXTENSIONS_MOST * (1 + NAME_MAX));
  if (payload == NULL) leave(); /* nothing but READY was said */
  uint8_t *at = put(payload, (uint64_t)count, 2);
  for (int i = 0; i < started(); i++) {
    const size_t length = strlen(extensions[i].name);
    at = put(at, length, 1);
    memcpy(at, extensions[i].name, length);
    at += length;
  }
  commit_frame(EXTENSIONS, (size_t)(at - payload));
}

/* The child's side of the fork. */
static _Noreturn void become_extension(const char *name, int input, int errno_fd) {
  char path[sizeof FOLDER + NAME_MAX + 1];
  snprintf(path, sizeof path, FOLDER "/%s", name);
  int result = ENOMEM;
  if (prepare_function(input, log_function_end(0), log_function_end(1)) && set_variables(false)) {
    sigprocmask(SIG_SETMASK, &given.signals, NULL);
    execve(path, (char *[]){path, NULL}, environ);
    result = errno;
  }
  if (write(errno_fd, &result, sizeof result) < 0) _exit(126);
  _exit(127);
}

static bool start_extension(struct extension *extension) {
  int ends[2], input = open_empty();
  if (input < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return false;
  const pid_t pid = fork();
  if (pid == 0) become_extension(extension->name, input, ends[1]);
  close(input);
  close(ends[1]);
  extension->errno_fd = ends[0];
  extension->pid = pid < 0 ? 0 : pid;
  if (pid > 0) setpgid(pid, pid); /* as with the command: whichever comes first */
  return pid > 0;
}

/* Starts the extensions of an app that asks for its calls, if there are any. Returns whether the command has to wait for START. */
bool start_extensions(void) {
  if (app_asks()) list_extensions();
  if (count == 0) return false;
  announce_extensions();
  for (int i = 0; i < started(); i++) {
    if (start_extension(&extensions[i])) continue;
    fail(FAILED_START, errno);
    break;
  }
  waiting = true;
  return true;
}

/* Takes START. Returns false if the command does not wait for it. */
bool take_start(void) {
  if (!waiting) return false;
  waiting = false;
  if (phase() == RUNNING) release_function();
  return true;
}

/* Signals the extensions where kill(-1) does not. */
void signal_extensions(int number) {
  for (int i = 0; i < started(); i++)
    if (extensions[i].pid > 0) kill(-extensions[i].pid, number);
}

/* Returns whether there are extensions that the end of the command waits for. */
bool extensions_are_awaited(void) {
  for (int i = 0; i < started(); i++)
    if (extensions[i].pid > 0 && extensions[i].is_awaited) return true;
  return false;
}

/* Takes which extensions the end of the command is to wait for. Returns false for one that there is not. */
bool await_extensions(uint32_t which) {
  if (which >> started() != 0) return false;
  for (int i = 0; i < started(); i++) extensions[i].is_awaited = (which >> i & 1) != 0;
  return true;
}

/* Takes the end of the command. Returns false if nothing waits for extensions. */
bool keep_end(int status, const struct rusage *usage) {
  if (phase() != RUNNING || !extensions_are_awaited()) return false;
  has_ended = true;
  ended_status = status;
  ended_usage = *usage;
  return true;
}

/* Returns whether the command has ended while extensions are awaited. */
bool end_is_kept(void) { return has_ended; }

/* Ends the run, whose command has ended before. */
void conclude_kept_end(void) {
  has_ended = false;
  conclude(ended_status, &ended_usage);
}

/* Takes the end of a process. Returns false if it was not an extension. */
bool extension_ended(pid_t pid, int status) {
  struct extension *extension = extensions;
  while (extension < extensions + started() && extension->pid != pid) extension++;
  if (extension == extensions + started()) return false;
  int error = 0;
  extension->pid = 0;
  if (read(extension->errno_fd, &error, sizeof error) != sizeof error) error = 0;
  close_fd(&extension->errno_fd);
  if (phase() != RUNNING) return true;
  uint8_t payload[END_SIZE], *at = put(payload, (uint64_t)(extension - extensions), 1);
  at = put(at, WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 0, 1);
  at = put(at, WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0, 1);
  put(at, (uint32_t)error, 4);
  send_control(EXTENSION_END, payload, sizeof payload);
  if (has_ended && !extensions_are_awaited()) conclude_kept_end();
  return true;
}

/*
 * The gate: PID 1 of a function's container.
 *
 *     gate COMMAND [ARG...]
 *
 * It says READY on stdout, waits for a request on stdin, runs COMMAND for it, and hands back the output, the end
 * and response.json of that run. Then it exits, or, where the request said that another one may follow, clears
 * away what the run left behind and says READY again. PROTOCOL.md describes the frames; frames.ts is the other end.
 *
 * Three rules explain most of what follows.
 * - Nothing may block: one poll loop, so that the end of stdin (the server is gone, or no longer wants the
 *   answer), the deadline and the end of the function are noticed however full any pipe is.
 * - The function is hostile. It may share our user id, and it owns the context directory. It must not get at
 *   our descriptors, and no file that it leaves may make us hang or follow a link.
 * - The end of the main process decides, not the end of its output: a grandchild may hold that for ever.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 2, HEADER = 5, PAYLOAD_MAX = 65536 };
enum { REQUEST = 0x01, BODY = 0x02, ENV = 0x03, FILE_PIECE = 0x04 };
enum { READY = 0x81, LOG = 0x82, EXPIRED = 0x83, EXIT = 0x84, RESPONSE = 0x85, FAILED = 0x86, META = 0x87 };
enum { FAILED_CONTEXT = 1, FAILED_REQUEST = 2, FAILED_START = 3, FAILED_EXEC = 4, FAILED_FRAMES = 5, FAILED_SECRETS = 6 };
enum { FLAG_AGAIN = 1, FLAG_BODY_FILE = 2 };
enum { PLACE_CONTEXT = 1, PLACE_SECRETS = 2 };
enum { RESPONSE_FINE = 0, RESPONSE_MISSING = 1, RESPONSE_NO_FILE = 2, RESPONSE_LARGE = 3, RESPONSE_UNREADABLE = 4 };

/* READY, EXPIRED, and EXIT or FAILED together need less than this; LOG and RESPONSE leave it free for them. */
enum { CONTROL_ROOM = 256 };
/* What a pipe can hold at most without privileges (fs.pipe-max-size): more is not read after the end. */
enum { DRAIN_MAX = 1 << 20 };
/* A wait for others needs an end: the answer must be taken in this time, and the killed be dead. */
#define PATIENCE_US (30 * 1000000ULL)
/* From the answer to our exit at most, where the server does not close stdin before: the end of a container keeps the
 * engine busy, and the answer, which passes through the engine too, should be ahead of it. */
#define LINGER_US (50 * 1000ULL)
#define NEVER UINT64_MAX
/* Where secrets are, on a tmpfs that the server has mounted there. */
#define SECRETS "/run/secrets"

/* WAITING for REQUEST, RECEIVING the body, RUNNING the function, DRAINING its output once it has ended, and
 * ANSWERING: all that is left to do is to send what is in `out` and in response.json. Then LEAVING: the answer is out.
 * Or RESETTING, where another request may follow: everything that the function started must be gone before its files
 * are. A function that left nothing goes from ANSWERING to WAITING at once. */
static enum { WAITING, RECEIVING, RUNNING, DRAINING, ANSWERING, RESETTING, LEAVING } phase = WAITING;

static char **command;
static bool again;            /* another request may follow this one */
static bool is_init;          /* PID 1 of its namespace; false when a test runs the gate as a plain process */
static mode_t given_umask;    /* as the engine gave them to us; the function gets them back */
static sigset_t given_mask;
static struct sigaction given_sigpipe, given_sigchld;
static int signals;

static uint8_t in[2 * (HEADER + PAYLOAD_MAX)];
static size_t in_used;
static uint8_t out[4 * (HEADER + PAYLOAD_MAX)]; /* out[out_head..out_tail) waits for stdout to take it */
static size_t out_head, out_tail;
static uint8_t scratch[PAYLOAD_MAX];            /* where output beyond the limit goes */

static char context[PATH_MAX];
static const char *request_id;                  /* the last part of `context` */
static int context_fd = -1, request_fd = -1, response_fd = -1, exec_errno_fd = -1, oom_fd = -1;
static int go_fd = -1;        /* what the child waits for: its context's path */
static uint32_t grace_ms, response_limit, log_left, body_left, response_left;
static int meta_fd = -1;
static uint32_t meta_left, extras_left;         /* bytes of META, and frames of ENV and FILE, to come */
static bool body_file;                          /* the body is to be found as request.body too */
/* "NAME=value" of each ENV, each with its NUL. The memory is shared with the child, which was there before them, takes
 * them and wipes them. A page that no call needs costs nothing, and the kernel takes little more than these. */
static struct { size_t used; char bytes[1 << 20]; } *variables;
static struct { int fd; uint8_t place; char name[NAME_MAX + 1]; } filling = {-1, 0, ""}; /* by FILE frames */
static bool secrets_given;                      /* in any call: SECRETS is ours to clear */
static uint64_t log_dropped;
/* We keep the function's end of each pipe open as well: otherwise its exit would wake us for every end of a pipe, in
 * the middle of dying, before the one wake that counts. */
static struct log { int fd, function_end; uint8_t stream; size_t drained; } logs[] = {{-1, -1, 1, 0}, {-1, -1, 2, 0}};

static pid_t child = -1;      /* leader of the function's process group; it is there before the request */
static bool prepared;         /* prepare() has been tried for the next request */
static uint64_t alarm_at = NEVER, started_us, wall_us;
static enum { IN_TIME, TERMINATED, KILLED } expiry = IN_TIME;
static int end_status;
static struct rusage end_usage;
static uint64_t oom_before;

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }

/* Writes `value` as `bytes` bytes, big-endian, and returns where the next one goes. */
static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
  while (bytes-- > 0) *at++ = (uint8_t)(value >> (8 * bytes));
  return at;
}

/* Ends the function and all it started. As PID 1, kill(-1) reaches every process of the container in one step
 * that no fork can slip through. Anywhere else it would end the whole machine, so there the group must do. */
static void kill_all(void) {
  if (is_init) kill(-1, SIGKILL);
  else if (child > 0) kill(-child, SIGKILL);
}

/* Whether no process but us is left of what we ever started: as PID 1, every orphan becomes our child. */
static bool alone(void) {
  siginfo_t info;
  return is_init && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD;
}

/* The same as kill_all(), which looks at every process of the machine, where there is somebody to be killed. */
static void kill_others(void) {
  if (!alone()) kill_all();
}

/* Nobody is there to hear an answer, or none can be given. */
static _Noreturn void leave(void) {
  kill_all();
  _exit(1);
}

/* ---- Output ---- */

/* Where a payload of up to `most` bytes may be written, or NULL when the server must first take some of `out`. */
static uint8_t *payload_room(size_t most) {
  size_t need = HEADER + most + CONTROL_ROOM;
  if (sizeof out - (out_tail - out_head) < need) return NULL;
  if (sizeof out - out_tail < need) {
    memmove(out, out + out_head, out_tail - out_head);
    out_tail -= out_head;
    out_head = 0;
  }
  return out + out_tail + HEADER;
}

/* Makes a frame of the `length` bytes that were written where payload_room() said. */
static void commit_frame(uint8_t type, size_t length) {
  put(put(out + out_tail, type, 1), length, 4);
  out_tail += HEADER + length;
}

/* A frame small enough for CONTROL_ROOM, so that it fits always. */
static void send_control(uint8_t type, const uint8_t *payload, size_t length) {
  if (length > 0) memcpy(out + out_tail + HEADER, payload, length);
  commit_frame(type, length);
}

/* Gives stdout what it takes without blocking. */
static void flush(void) {
  while (out_head < out_tail) {
    ssize_t n = write(STDOUT_FILENO, out + out_head, out_tail - out_head);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) leave();
    out_head += (size_t)n;
  }
  out_head = out_tail = 0;
}

/* Ends the call with FAILED in place of EXIT. */
static void fail(uint8_t stage, int error) {
  uint8_t payload[5];
  kill_all();
  again = false;
  put(put(payload, stage, 1), (uint32_t)error, 4);
  send_control(FAILED, payload, sizeof payload);
  phase = ANSWERING;
  alarm_at = now_us() + PATIENCE_US;
}

/* ---- Logs ---- */

/* Beyond the limit output is dropped, which needs no room; before that the server's pace is the function's. */
static bool logs_may_flow(void) { return log_left == 0 || payload_room(PAYLOAD_MAX) != NULL; }

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void close_log(struct log *log) {
  close_fd(&log->fd);
  close_fd(&log->function_end);
}

/* Reads once from a log pipe, only when logs_may_flow(). Returns the bytes read, 0 where there are none now. */
static size_t read_log(struct log *log) {
  size_t keep = log_left < PAYLOAD_MAX - 1 ? log_left : PAYLOAD_MAX - 1;
  uint8_t *payload = keep > 0 ? payload_room(1 + keep) : NULL;
  ssize_t n = keep > 0 ? read(log->fd, payload + 1, keep) : read(log->fd, scratch, sizeof scratch);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    close_log(log);
    return 0;
  }
  if (keep > 0) {
    payload[0] = log->stream;
    commit_frame(LOG, 1 + (size_t)n);
    log_left -= (uint32_t)n;
  } else {
    log_dropped += (uint64_t)n;
  }
  return (size_t)n;
}

/* Takes what the pipes still hold after the end, and no more: who holds them now may write for ever.
 * False while `out` is full. */
static bool drained(void) {
  for (struct log *log = logs; log < logs + 2; log++) {
    while (log->fd >= 0) {
      if (!logs_may_flow()) return false;
      size_t n = read_log(log);
      log->drained += n;
      if (log->fd >= 0 && (n == 0 || log->drained >= DRAIN_MAX)) close_log(log);
    }
  }
  return true;
}

/* ---- The function ---- */

/* How many processes of this cgroup the kernel has killed for want of memory; 0 where it does not say. */
static uint64_t oom_kills(void) {
  char text[1024];
  if (oom_fd < 0) oom_fd = open("/sys/fs/cgroup/memory.events", O_RDONLY | O_CLOEXEC);
  if (oom_fd < 0) oom_fd = open("/sys/fs/cgroup/memory/memory.oom_control", O_RDONLY | O_CLOEXEC);
  ssize_t n = oom_fd < 0 ? -1 : pread(oom_fd, text, sizeof text - 1, 0);
  if (n < 0) return 0;
  text[n] = '\0';
  for (char *line = text; line != NULL; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoull(line + 9, NULL, 10);
  }
  return 0;
}

/* What execvp does, but for files that the kernel cannot run (ENOEXEC): execvp would hand them to a shell, and
 * the engine does not. Returns the errno of the failure. */
static int execute(char **argv) {
  if (strchr(argv[0], '/') != NULL || argv[0][0] == '\0') {
    execve(argv[0], argv, environ);
    return errno;
  }
  const char *dir = getenv("PATH");
  if (dir == NULL) dir = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; /* the engine's default */
  int result = ENOENT;
  for (;;) {
    char file[PATH_MAX];
    const char *end = strchrnul(dir, ':');
    int length = (int)(end - dir);
    int n = snprintf(file, sizeof file, "%.*s%s%s", length, dir, length > 0 ? "/" : "", argv[0]);
    if (n > 0 && (size_t)n < sizeof file) {
      execve(file, argv, environ);
      if (errno == EACCES) result = EACCES; /* tells more than that the other directories have none */
      else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
        return errno;
    }
    if (*end == '\0') return result;
    dir = end + 1;
  }
}

/* Where memory runs out, the function has to go and not the gate, which still has to tell. Raising one's own
 * score needs no privilege, but /proc/self is root's until we are dumpable again. That is safe here: this
 * process no longer has the gate's stdin and stdout, and nothing else runs in the container yet. */
static void prefer_as_victim(void) {
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1000", 4) < 0) { /* Without it the kernel goes by size, which finds the function nearly always. */ }
  close(fd);
}

static void wipe_variables(void) {
  explicit_bzero(variables->bytes, variables->used);
  variables->used = 0;
}

/* Gives this process the call's variables, over those that it has. An environment may hold a name twice, and putenv
 * replaces only the first. What is left behind is this process's own copy, which an exec takes away. */
static bool set_variables(void) {
  char *end, *at = malloc(variables->used + 1);
  if (at == NULL) return false;
  memcpy(at, variables->bytes, variables->used);
  end = at + variables->used;
  wipe_variables();
  for (; at < end; at += strlen(at) + 1) {
    char *equals = strchr(at, '=');
    *equals = '\0';
    unsetenv(at);
    *equals = '=';
    if (putenv(at) != 0) return false;
  }
  return true;
}

/* The child's side of fork(): makes itself ready, waits for the path of its context, and becomes the command, or tells
 * why not through `exec_errno`, which an exec closes. */
static _Noreturn void become_function(int input, int output, int error_output, int go, int exec_errno) {
  setpgid(0, 0);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(error_output, STDERR_FILENO);
  prefer_as_victim();
  umask(given_umask);
  sigaction(SIGPIPE, &given_sigpipe, NULL);
  sigaction(SIGCHLD, &given_sigchld, NULL);
  unsetenv("CONTEXT_PATH"); /* an environment may hold a name twice, and setenv replaces only the first */
  unsetenv("REQUEST_ID");
  ssize_t n;
  do n = read(go, context, sizeof context - 1);
  while (n < 0 && errno == EINTR);
  if (n <= 0) _exit(126); /* there will be no request */
  context[n] = '\0';
  int result = ENOMEM;
  bool given = variables->used == 0 || set_variables();
  if (given && setenv("CONTEXT_PATH", context, 1) == 0 && setenv("REQUEST_ID", strrchr(context, '/') + 1, 1) == 0) {
    sigprocmask(SIG_SETMASK, &given_mask, NULL);
    result = execute(command);
  }
  if (write(exec_errno, &result, sizeof result) < 0) _exit(126);
  _exit(127);
}

/* A descriptor that is at its end: an image may lack /dev/null, and a pipe without a writer does as well. */
static int open_empty(void) {
  int ends[2];
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0 || pipe2(ends, O_CLOEXEC) < 0) return fd;
  close(ends[1]);
  return ends[0];
}

/* Makes the process that the command is to run in, which is most of the work, before anybody waits for it. What fails
 * here leaves descriptors open: it will fail again once there is a request, and the gate exit. */
static bool prepare(void) {
  int output[2], error_output[2], go[2], exec_errno[2];
  int input = open_empty();
  if (input < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(error_output, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0 ||
      pipe2(exec_errno, O_CLOEXEC) < 0)
    return false;
  pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    close(go[1]); /* or it would not see our end */
    become_function(input, output[1], error_output[1], go[0], exec_errno[1]);
  }
  child = pid;
  setpgid(child, child); /* both sides do it: whichever comes first, a signal to the group finds it */
  close(input);
  close(go[0]);
  close(exec_errno[1]);
  logs[0].fd = output[0];
  logs[0].function_end = output[1];
  logs[1].fd = error_output[0];
  logs[1].function_end = error_output[1];
  exec_errno_fd = exec_errno[0];
  go_fd = go[1];
  /* On the ends that are ours only: the function's must block. */
  fcntl(logs[0].fd, F_SETFL, O_NONBLOCK);
  fcntl(logs[1].fd, F_SETFL, O_NONBLOCK);
  fcntl(exec_errno_fd, F_SETFL, O_NONBLOCK);
  return true;
}

/* Starts the command. */
static void start(void) {
  close_fd(&request_fd);
  close_fd(&filling.fd);
  if (child < 0) again = false; /* what failed the first time has left descriptors open */
  if (child < 0 && !prepare()) return fail(FAILED_START, errno);
  started_us = now_us();
  phase = RUNNING;
  /* One write, that the child takes as one: a path is no longer than what a pipe keeps together. Where it is dead
   * already, reap() will hear of it. */
  if (write(go_fd, context, strlen(context)) < 0 && errno != EPIPE) return fail(FAILED_START, errno);
}

/* The function has ended, whatever still holds its output. */
static void conclude(int status, const struct rusage *usage) {
  int error;
  wall_us = started_us > 0 ? now_us() - started_us : 0;
  end_status = status;
  end_usage = *usage;
  kill_others();
  wipe_variables(); /* where it was killed before it took them */
  if (exec_errno_fd >= 0 && read(exec_errno_fd, &error, sizeof error) == sizeof error) return fail(FAILED_EXEC, error);
  phase = DRAINING;
  alarm_at = now_us() + PATIENCE_US;
}

/* Collects the dead: the function, and as PID 1 every orphan of the container. True while others live. A child that
 * ends before its request is whole was killed for want of memory, as the function it would have been. */
static bool reap(void) {
  int status;
  struct rusage usage;
  pid_t pid;
  while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0) {
    if (pid == child && phase == WAITING) leave();
    if (pid == child && phase == RECEIVING) again = false;
    if (pid == child && (phase == RUNNING || phase == RECEIVING)) conclude(status, &usage);
  }
  return pid == 0;
}

/* ---- The answer ---- */

/* Opens a file of the answer. The look before the open keeps us off devices and pipes, where opening alone does
 * something; the one after it is the guarantee, should the name have changed hands in between. */
static uint8_t open_answer(const char *name, uint32_t limit, int *fd, uint32_t *left) {
  struct stat found;
  if (fstatat(context_fd, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? RESPONSE_MISSING : RESPONSE_UNREADABLE;
  if (!S_ISREG(found.st_mode)) return RESPONSE_NO_FILE;
  *fd = openat(context_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (*fd < 0 || fstat(*fd, &found) < 0) return RESPONSE_UNREADABLE;
  if (!S_ISREG(found.st_mode)) return RESPONSE_NO_FILE;
  if (found.st_size > (off_t)limit) return RESPONSE_LARGE; /* by its size: a sparse terabyte costs nothing */
  *left = (uint32_t)found.st_size;
  return RESPONSE_FINE;
}

static uint64_t microseconds(struct timeval time) { return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec; }

static void send_exit(void) {
  uint8_t payload[64], *at = payload;
  uint64_t oom_after = oom_kills();
  uint8_t meta_state = open_answer("response.meta.json", PAYLOAD_MAX, &meta_fd, &meta_left);
  uint8_t state = open_answer("response.body", response_limit, &response_fd, &response_left);
  bool made_body = state != RESPONSE_MISSING;
  if (!made_body) state = open_answer("response.json", response_limit, &response_fd, &response_left);
  at = put(at, WIFEXITED(end_status) ? (uint64_t)WEXITSTATUS(end_status) : 0, 1);
  at = put(at, WIFSIGNALED(end_status) ? (uint64_t)WTERMSIG(end_status) : 0, 1);
  at = put(at, oom_after > oom_before ? oom_after - oom_before : 0, 4);
  at = put(at, microseconds(end_usage.ru_utime), 8);
  at = put(at, microseconds(end_usage.ru_stime), 8);
  at = put(at, (uint64_t)end_usage.ru_maxrss * 1024, 8);
  at = put(at, wall_us, 8);
  at = put(at, log_dropped, 8);
  at = put(at, meta_state, 1);
  at = put(at, meta_left, 4);
  at = put(at, made_body, 1);
  at = put(at, state, 1);
  at = put(at, response_left, 4);
  send_control(EXIT, payload, (size_t)(at - payload));
  phase = ANSWERING;
}

/* Moves a file of the answer into `out` as far as there is room, in frames as long as they can be. */
static void feed(uint8_t type, int fd, uint32_t *left) {
  uint8_t *payload;
  while (*left > 0 && (payload = payload_room(PAYLOAD_MAX)) != NULL) {
    size_t length = *left < PAYLOAD_MAX ? *left : PAYLOAD_MAX;
    for (size_t got = 0; got < length;) {
      ssize_t n = read(fd, payload + got, length - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) leave(); /* shorter than EXIT promised; the server sees the answer cut */
      got += (size_t)n;
    }
    commit_frame(type, length);
    *left -= (uint32_t)length;
  }
}

static void feed_answer(void) {
  feed(META, meta_fd, &meta_left);
  if (meta_left == 0) feed(RESPONSE, response_fd, &response_left);
}

/* Whether some of the answer is still to be put into `out`. */
static bool answer_left(void) { return meta_left > 0 || response_left > 0; }

/* ---- The request ---- */

/* Writes to a file of ours. What refuses is a full tmpfs, or the container's memory limit. */
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

static bool write_file(int fd, const void *bytes, size_t length) {
  return write_bytes(fd, bytes, length, FAILED_REQUEST);
}

/* The function starts when all that was announced is there. */
static void start_when_whole(void) {
  if (extras_left == 0 && body_left == 0) start();
}

/* The same file under another name, as it takes no memory then; but not where request.json is to hold what nobody sent. */
static bool make_body_file(void) {
  if (body_left > 0) return linkat(context_fd, "request.json", context_fd, "request.body", 0) == 0;
  int fd = openat(context_fd, "request.body", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0666);
  return fd >= 0 && close(fd) == 0;
}

/* Makes the context. Anyone may read and write there: the image may drop to another user than ours, and our
 * own may be any. */
static void make_context(void) {
  const int flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
  if (mkdir(context, 0777) < 0) return fail(FAILED_CONTEXT, errno);
  context_fd = open(context, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (context_fd < 0) return fail(FAILED_CONTEXT, errno);
  request_fd = openat(context_fd, "request.json", flags, 0666);
  int response = request_fd < 0 ? -1 : openat(context_fd, "response.json", flags, 0666);
  if (response < 0) return fail(FAILED_CONTEXT, errno);
  if (!write_file(response, "{}", 2)) return;
  close(response);
  if (body_file && !make_body_file()) return fail(FAILED_CONTEXT, errno);
  phase = RECEIVING;
  if (body_left > 0 || write_file(request_fd, "{}", 2)) start_when_whole();
}

static bool reusable(void);

/* False when the frame is not of the form that PROTOCOL.md gives it. */
static bool take_request(const uint8_t *payload, uint32_t length) {
  if (length < 29 || payload[24] > (FLAG_AGAIN | FLAG_BODY_FILE)) return false;
  const uint32_t root_length = get16(payload + 25);
  if (length < 29 + root_length) return false;
  const uint32_t id_length = get16(payload + 27 + root_length);
  if (length != 29 + root_length + id_length) return false;
  const char *root = (const char *)payload + 27, *id = root + root_length + 2;
  if (root_length == 0 || root[0] != '/' || memchr(root, '\0', root_length) != NULL) return false;
  if (id_length == 0 || memchr(id, '\0', id_length) != NULL || memchr(id, '/', id_length) != NULL) return false;
  if (root_length + 1 + id_length >= sizeof context) return false;
  snprintf(context, sizeof context, "%.*s/%.*s", (int)root_length, root, (int)id_length, id);
  request_id = context + root_length + 1;
  alarm_at = now_us() + get32(payload) * 1000ULL;
  grace_ms = get32(payload + 4);
  response_limit = get32(payload + 8);
  log_left = get32(payload + 12);
  body_left = get32(payload + 16);
  extras_left = get32(payload + 20);
  body_file = (payload[24] & FLAG_BODY_FILE) != 0;
  again = (payload[24] & FLAG_AGAIN) != 0 && reusable();
  make_context();
  return true;
}

/* A variable for the function's process. False where it can be none. */
static bool take_variable(const uint8_t *payload, uint32_t length) {
  const uint32_t name_length = length < 2 ? 0 : get16(payload);
  if (name_length == 0 || length < 2 + name_length) return false;
  const uint8_t *name = payload + 2, *value = name + name_length;
  const size_t value_length = length - 2 - name_length;
  if (memchr(name, '=', name_length) != NULL || memchr(name, '\0', length - 2) != NULL) return false;
  if (sizeof variables->bytes - variables->used < name_length + value_length + 2) {
    fail(FAILED_EXEC, E2BIG); /* as the kernel would say */
    return true;
  }
  char *at = variables->bytes + variables->used;
  memcpy(at, name, name_length);
  at[name_length] = '=';
  memcpy(at + name_length + 1, value, value_length);
  at[name_length + 1 + value_length] = '\0';
  variables->used += name_length + value_length + 2;
  return true;
}

/* Opens the directory of secrets. A secret never gets to a disk, so it must be a tmpfs. */
static int open_secrets(void) {
  struct statfs found;
  int fd = open(SECRETS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || (fstatfs(fd, &found) == 0 && found.f_type == TMPFS_MAGIC)) return fd;
  close(fd);
  errno = ENODEV;
  return -1;
}

/* Makes a file for the function and leaves it open, as more of it may follow. */
static void make_file(uint8_t place, const char *name) {
  const int flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
  close_fd(&filling.fd);
  if (place == PLACE_CONTEXT) {
    filling.fd = openat(context_fd, name, flags, 0666);
  } else {
    int directory = open_secrets();
    secrets_given = true;
    filling.fd = directory < 0 ? -1 : openat(directory, name, flags, 0444);
    int error = errno;
    if (directory >= 0) close(directory);
    errno = error;
  }
  filling.place = place;
  strcpy(filling.name, name);
  if (filling.fd < 0) fail(errno == EEXIST ? FAILED_FRAMES : place == PLACE_CONTEXT ? FAILED_REQUEST : FAILED_SECRETS, errno);
}

/* A file for the function, or more of the one before. False where its name is no file's, or its place none. */
static bool take_file(const uint8_t *payload, uint32_t length) {
  char name[NAME_MAX + 1];
  const uint32_t name_length = length < 3 ? 0 : get16(payload + 1);
  if (name_length == 0 || name_length > NAME_MAX || length < 3 + name_length) return false;
  const uint8_t place = payload[0];
  if (place != PLACE_CONTEXT && place != PLACE_SECRETS) return false;
  memcpy(name, payload + 3, name_length);
  name[name_length] = '\0';
  if (strlen(name) != name_length || strchr(name, '/') != NULL) return false;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  if (filling.fd < 0 || filling.place != place || strcmp(filling.name, name) != 0) make_file(place, name);
  const uint32_t head = 3 + name_length;
  if (filling.fd >= 0)
    write_bytes(filling.fd, payload + head, length - head, place == PLACE_CONTEXT ? FAILED_REQUEST : FAILED_SECRETS);
  return true;
}

static void take_frame(uint8_t type, const uint8_t *payload, uint32_t length) {
  if (phase == WAITING && type == REQUEST && take_request(payload, length)) return;
  if (phase == RECEIVING && extras_left > 0) {
    bool taken = type == ENV ? take_variable(payload, length) : type == FILE_PIECE && take_file(payload, length);
    if (taken && phase == RECEIVING) {
      extras_left--;
      start_when_whole();
    }
    if (taken) return;
  } else if (phase == RECEIVING && type == BODY && length > 0 && length <= body_left) {
    body_left -= length;
    if (write_file(request_fd, payload, length)) start_when_whole();
    return;
  }
  fail(FAILED_FRAMES, EPROTO);
}

/* Reads from the server. The end of stdin is its way to end the call, whatever we are doing. */
static void receive(void) {
  /* Once we answer only the end matters, but the server may still be sending a body that we refused. */
  bool listening = phase != ANSWERING && phase != LEAVING;
  ssize_t n = listening ? read(STDIN_FILENO, in + in_used, sizeof in - in_used)
                        : read(STDIN_FILENO, scratch, sizeof scratch);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0 && phase == LEAVING) _exit(0);
  if (n <= 0) leave();
  if (!listening) return;
  in_used += (size_t)n;
  size_t at = 0;
  bool secret = false; /* some of what was read is no longer to be found here once it is taken */
  while (phase != ANSWERING && in_used - at >= HEADER) {
    uint32_t length = get32(in + at + 1);
    if (length > PAYLOAD_MAX) return fail(FAILED_FRAMES, EMSGSIZE);
    if (in_used - at < HEADER + length) break;
    secret = secret || in[at] == ENV || in[at] == FILE_PIECE;
    take_frame(in[at], in + at + HEADER, length);
    at += HEADER + length;
  }
  in_used -= at; /* one move a read, not one a frame: many small frames stay cheap */
  memmove(in, in + at, in_used);
  if (secret || extras_left > 0) explicit_bzero(in + in_used, at);
  if ((phase == RUNNING || phase == DRAINING) && in_used > 0) fail(FAILED_FRAMES, EPROTO);
}

/* ---- Another request ---- */

/* What one function may leave behind for the next: beyond this the container is not worth clearing. */
enum { CLEAR_DEPTH = 64, CLEAR_ENTRIES = 10000 };

/* KEPT is what the function cannot have made, and the directories that hold it; STUCK is anything else that stays. */
enum left { GONE, KEPT, STUCK };

static enum left clear(int directory, int depth, int *entries);

/* A mount point (such as the context's root below /tmp, which is cleared by itself), or a read-only filesystem. */
static bool fixed(int error) { return error == EBUSY || error == EROFS; }

/* Removes one entry. Without privileges, what belongs to another user came with the image. */
static enum left clear_entry(int parent, const char *name, int depth, int *entries) {
  struct stat found;
  if (--*entries < 0) return STUCK;
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return GONE;
  bool keep = fixed(errno);
  if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0) return STUCK;
  if (geteuid() != 0 && found.st_uid != geteuid()) keep = true;
  if (!S_ISDIR(found.st_mode)) return keep ? KEPT : STUCK;
  int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return keep && faccessat(parent, name, W_OK, 0) < 0 ? KEPT : STUCK;
  enum left inside = clear(directory, depth + 1, entries);
  if (inside == STUCK || unlinkat(parent, name, AT_REMOVEDIR) == 0) return inside == STUCK ? STUCK : GONE;
  return keep || inside == KEPT || fixed(errno) ? KEPT : STUCK;
}

/* Empties a directory, and closes it. */
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

/* False where something of the function's would stay. A place that is missing, or where it may not write, has none. */
static bool clear_path(const char *path) {
  int entries = CLEAR_ENTRIES;
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT || (errno == EACCES && access(path, W_OK) < 0);
  return clear(directory, 0, &entries) != STUCK;
}

/* Where a function writes by habit. Message queues are no habit, but outlive their processes and count as memory. */
static bool clear_places(void) {
  return clear_path("/tmp") && clear_path("/dev/shm") && clear_path("/dev/mqueue") &&
         (!secrets_given || clear_path(SECRETS));
}

static int shm_control(int id, int operation, void *to) { return shmctl(id, operation, to); }
static int msg_control(int id, int operation, void *to) { return msgctl(id, operation, to); }
static int sem_control(int id, int operation, void *to) { return semctl(id, 0, operation, to); }

/* System V's shared memory, queues and semaphores outlive their processes too. They have numbers and no directory.
 * The first way to ask needs no permission, which the function may have taken from us; older kernels know the second. */
static bool clear_ipc(int (*control)(int, int, void *), int info, int stat_any, int stat) {
  uint64_t to[64];
  for (int index = control(0, info, to); index >= 0; index--) {
    int id = control(index, stat_any, to);
    if (id < 0) id = control(index, stat, to);
    if (id < 0 ? errno != EINVAL && errno != EIDRM : control(id, IPC_RMID, NULL) < 0) return false;
  }
  return true;
}

static bool clear_ipc_objects(void) {
  return clear_ipc(shm_control, SHM_INFO, SHM_STAT_ANY, SHM_STAT) &&
         clear_ipc(msg_control, MSG_INFO, MSG_STAT_ANY, MSG_STAT) &&
         clear_ipc(sem_control, SEM_INFO, SEM_STAT_ANY, SEM_STAT);
}

static bool clear_container(void) { return clear_places() && clear_ipc_objects(); }

/* Whether what is at `path` would be cleared away. */
static bool perishable(const char *path) {
  char real[PATH_MAX];
  if (realpath(path, real) == NULL) return false;
  return strncmp(real, "/tmp/", 5) == 0 || strncmp(real, "/dev/shm/", 9) == 0;
}

/* Not every image can serve twice: one may keep its working directory, its program or what that is to read where we
 * clear. Asked before the first run, when all that is there came with the image. */
static bool reusable(void) {
  static enum { UNKNOWN, YES, NO } answer;
  if (answer == UNKNOWN) {
    answer = is_init && perishable(".") ? NO : YES;
    for (char **word = command; is_init && *word != NULL; word++)
      if (perishable(*word)) answer = NO;
  }
  return answer == YES;
}

/* Closes what belongs to one call only, and is open at its end. */
static void close_call(void) {
  close_fd(&go_fd);
  close_fd(&exec_errno_fd);
  close_fd(&context_fd);
  close_fd(&response_fd);
  close_fd(&meta_fd);
}

/* Ends what the function started. The files go when the last process is gone, lest it make new ones. */
static void start_reset(void) {
  kill_others();
  close_call();
  phase = RESETTING;
  alarm_at = now_us() + PATIENCE_US;
}

/* READY again, with nothing left of the call. */
static void begin_anew(void) {
  child = -1;
  prepared = false;
  started_us = 0;
  expiry = IN_TIME;
  again = false;
  log_dropped = 0;
  logs[0].drained = logs[1].drained = 0;
  alarm_at = NEVER;
  phase = WAITING;
  send_control(READY, (const uint8_t[]){VERSION}, 1);
}

/* Where the part of `context` before the id goes; as long as `context` is. */
static void context_root(char *root) { snprintf(root, PATH_MAX, "%.*s", (int)(request_id - context - 1), context); }

/* Once no child is left: clears away what can hold a trace of the call, and is READY again. The rest of the container's
 * writable layer stays as it is, which is what `max_calls` trades for speed. */
static void finish_reset(void) {
  char root[PATH_MAX];
  context_root(root);
  if (access(root, W_OK) < 0 || !clear_path(root)) leave();
  /* Tests run the gate as a plain process, on a machine whose /tmp is not ours to clear. */
  if (is_init && !clear_container()) leave();
  begin_anew();
}

/* Whether a directory holds nothing, or nothing but `except`. One that cannot be read is for clear_path() to judge. */
static bool holds_only(const char *path, const char *except) {
  struct { uint64_t inode, offset; uint16_t length; uint8_t type; char name[]; } *entry; /* linux_dirent64 */
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

/* What a context holds by the protocol. */
static const char *const OWN_FILES[] = {"request.json",  "request.meta.json",  "request.body",
                                        "response.json", "response.meta.json", "response.body"};

/* A function that left no process and no file but those of its context is cleared away in less time than it takes to
 * send the answer, so that READY can go with it: that spares the way here from there one wake of everyone on it. False,
 * with all else still to be cleared, where it left more. */
static bool reset_at_once(void) {
  char root[PATH_MAX];
  context_root(root);
  if (!alone()) return false;
  if (access(root, W_OK) < 0 || !holds_only(root, request_id)) return false;
  const char *in_tmp = strncmp(root, "/tmp/", 5) == 0 ? root + 5 : "";
  if (!holds_only("/tmp", in_tmp) || !holds_only("/dev/shm", "") || !holds_only("/dev/mqueue", "")) return false;
  if (!clear_ipc_objects()) return false;
  for (size_t i = 0; i < sizeof OWN_FILES / sizeof *OWN_FILES; i++) unlinkat(context_fd, OWN_FILES[i], 0);
  if (secrets_given && !clear_path(SECRETS)) return false;
  if (rmdir(context) < 0) return false;
  close_call();
  begin_anew();
  return true;
}

/* ---- The loop ---- */

/* A signal from outside the container shows no process id; one from the function does, and is not obeyed. The
 * function cannot forge that: the kernel fills in the id where the code is SI_USER. */
static void take_signals(void) {
  struct signalfd_siginfo info[8];
  ssize_t n = read(signals, info, sizeof info);
  for (size_t i = 0; n > 0 && i < (size_t)n / sizeof *info; i++) {
    bool outside = info[i].ssi_code == SI_USER && info[i].ssi_pid == 0;
    if (info[i].ssi_signo != SIGCHLD && (outside || !is_init)) leave();
  }
  reap();
}

/* The time that was set has come: for the function to end, to be killed, or for the server to take the answer. */
static void take_alarm(void) {
  const struct rusage none = {0};
  if (phase == LEAVING) _exit(0);
  if (phase != RECEIVING && phase != RUNNING) leave();
  switch (expiry) {
    case IN_TIME:
      expiry = TERMINATED;
      again = false;
      send_control(EXPIRED, NULL, 0);
      if (phase == RECEIVING) return conclude(SIGKILL, &none); /* the body came too late; there is nothing to end */
      kill(-child, SIGTERM);
      alarm_at = now_us() + grace_ms * 1000ULL;
      return;
    case TERMINATED:
      expiry = KILLED;
      kill_all();
      alarm_at = now_us() + PATIENCE_US;
      return;
    case KILLED: /* and not dead: it got itself another user id. It ends with us. */
      leave();
  }
}

static int poll_timeout(void) {
  uint64_t now = now_us();
  if (alarm_at == NEVER) return -1;
  if (alarm_at <= now) return 0;
  uint64_t ms = (alarm_at - now + 999) / 1000;
  return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void set_up(void) {
  sigset_t watched;
  struct sigaction ignore = {.sa_handler = SIG_IGN}, keep = {.sa_handler = SIG_DFL};
  is_init = getpid() == 1;
  /* No descriptor of whoever started us may reach the function. An engine too old for the call hands none on. */
  syscall(SYS_close_range, 3U, ~0U, 0U);
  given_umask = umask(0);
  /* Without a handler a signal to PID 1 is lost unless it is blocked, so blocked they are. STOPSIGNAL of an
   * image may be any of these. */
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGQUIT);
  sigaddset(&watched, SIGHUP);
  sigprocmask(SIG_BLOCK, &watched, &given_mask);
  sigaction(SIGPIPE, &ignore, &given_sigpipe);
  sigaction(SIGCHLD, &keep, &given_sigchld); /* if it was ignored, the kernel would reap in our place */
  signals = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
}

int main(int argc, char **argv) {
  /* First of all: a process of the same user could otherwise open our descriptors through /proc. */
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (argc < 2) {
    fputs("usage: gate COMMAND [ARG...]\n", stderr);
    return 2;
  }
  command = argv + 1;
  set_up();
  if (signals < 0) return 1;
  variables = mmap(NULL, sizeof *variables, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (variables == MAP_FAILED) return 1;
  send_control(READY, (const uint8_t[]){VERSION}, 1);
  for (;;) {
    if (phase == DRAINING && drained()) send_exit();
    if (phase == ANSWERING) feed_answer();
    if (phase == ANSWERING && again && !answer_left()) reset_at_once();
    flush();
    if (phase == WAITING && !prepared) {
      prepared = true;
      oom_before = oom_kills();
      prepare();
    }
    bool sent = out_head == out_tail;
    /* A server that still writes its body must find the end that we told it, not a broken pipe: until it closes
     * stdin we go on reading. */
    bool unread = body_left > 0 || extras_left > 0;
    if (phase == ANSWERING && sent && !answer_left() && !unread) {
      if (again) {
        start_reset();
      } else {
        phase = LEAVING;
        alarm_at = now_us() + LINGER_US;
      }
    }
    if (phase == RESETTING && !reap()) {
      finish_reset();
      continue;
    }
    /* What comes now is for the next request and stays where it is until we are READY for it. */
    bool early = again && (phase == ANSWERING || phase == RESETTING);
    bool more = sent && (phase == DRAINING || answer_left()); /* to send; only look what else there is */
    bool reading = phase == RUNNING && logs_may_flow();
    struct pollfd fds[] = {
        {.fd = STDIN_FILENO, .events = early ? POLLRDHUP : POLLIN},
        {.fd = STDOUT_FILENO, .events = sent ? 0 : POLLOUT},
        {.fd = signals, .events = POLLIN},
        {.fd = reading ? logs[0].fd : -1, .events = POLLIN},
        {.fd = reading ? logs[1].fd : -1, .events = POLLIN},
    };
    if (poll(fds, 5, more ? 0 : poll_timeout()) < 0 && errno != EINTR) leave();
    if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) leave(); /* nobody reads any more */
    if (fds[0].revents && early) leave(); /* that the end has come is told even where something is unread */
    if (fds[0].revents) receive();
    if (fds[2].revents) take_signals();
    if (alarm_at <= now_us()) take_alarm();
    for (int i = 0; i < 2; i++)
      if (fds[3 + i].revents && phase == RUNNING && logs_may_flow()) read_log(&logs[i]);
  }
}

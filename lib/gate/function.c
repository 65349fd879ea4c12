/*
 * The function's process, from fork to exit.
 *
 * The process is forked before there is a request, which is most of the work: it waits on a pipe for the path of its
 * context (exec.c), and starting it is one write. main.c prepares it, request.c starts it, and reap() concludes the
 * call when it is dead.
 *
 * Owns the process, the two pipes between us and it, how it ended, and the counter of out-of-memory kills.
 */
#include "boot/boot.h"
#include "cell/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child = -1;   /* the leader of the function's process group */
static bool prepared;      /* prepare() has been tried for the next request */
static int go_fd = -1;     /* the child waits here for the path of its context */
static int exec_errno_fd = -1;
static uint64_t started_us;
static struct outcome outcome;
static int oom_fd = -1;
static uint64_t oom_before;

/* Signals the function and everything that it started. As PID 1, kill(-1) reaches every process of the container in one
 * step that no fork can slip through. Anywhere else it would reach the whole machine: there we signal the group. A process
 * of a user that we may not signal is left out. */
void signal_all(int number) {
  if (given.is_init) kill(-1, number);
  else if (child > 0) kill(-child, number);
  if (!given.is_init) signal_extensions(number);
}

void kill_all(void) { signal_all(SIGKILL); }

pid_t function_process(void) { return child; }

/* Returns whether we are the only process left in the container: as PID 1, we become the parent of every orphan. */
bool alone(void) {
  siginfo_t info;
  return given.is_init && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD;
}

/* Calls kill_all() only if there is a process to kill: it makes the kernel look at every process of the machine. */
void kill_others(void) {
  if (!alone()) kill_all();
}

/* Returns the number of processes of this cgroup that the kernel has killed for lack of memory; 0 if unknown. */
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

/* Returns the number of such kills since the process was prepared. */
uint32_t oom_kills_in_call(void) {
  uint64_t after = oom_kills();
  return after > oom_before ? (uint32_t)(after - oom_before) : 0;
}

/* Opens a descriptor that is at its end. An image may lack /dev/null; a pipe without a writer does the same. */
int open_empty(void) {
  int ends[2];
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0 || pipe2(ends, O_CLOEXEC) < 0) return fd;
  close(ends[1]);
  return ends[0];
}

/* Forks the process. If it fails, descriptors stay open: it will fail again when there is a request, and then the gate
 * exits. */
static bool prepare(void) {
  int go[2], exec_errno[2];
  int input = -1;
  if (!given.stdio) input = open_empty();
  else adopt_input(open_input(&input));
  if (input < 0 || !open_logs() || pipe2(go, O_CLOEXEC) < 0 || pipe2(exec_errno, O_CLOEXEC) < 0) return false;
  pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    close(go[1]); /* or it would never see us close ours */
    prepare_function(input, log_function_end(0), log_function_end(1));
    become_function(go[0], exec_errno[1]);
  }
  child = pid;
  setpgid(child, child); /* both sides do it: whichever comes first, a signal to the group finds it */
  close(input);
  close(go[0]);
  close(exec_errno[1]);
  exec_errno_fd = exec_errno[0];
  go_fd = go[1];
  fcntl(exec_errno_fd, F_SETFL, O_NONBLOCK);
  return true;
}

/* Prepares the process for the next request, once, while nobody waits for it. With cells one is there already, and this is
 * for the request after that. */
void prepare_ahead(void) {
  if (prepared) return;
  prepared = true;
  oom_before = oom_kills();
  if (cell_setting.wanted) make_another_cell();
  else prepare();
}

/* Takes the process of a cell: `init` is the cell's first one, and its end is the function's. */
void adopt_function(pid_t init, int go, int exec_errno) {
  child = init;
  go_fd = go;
  exec_errno_fd = exec_errno;
}

/* Starts the command, or the extensions that come before it. */
void start_function(void) {
  if (child < 0) allow_another(false); /* the attempt that failed has left descriptors open */
  if (child < 0 && (cell_setting.wanted || !prepare())) return fail(FAILED_START, errno);
  enter(RUNNING);
  if (!given.boot || !start_extensions()) release_function();
}

/* Lets the command begin. */
void release_function(void) {
  started_us = now_us();
  /* One write, which the child reads as one: a path is shorter than what a pipe keeps together. If the child is dead
   * already, reap() will find out. */
  const char *path = given.boot ? "/" : context_path(); /* an instance has none, and does not look at it */
  if (write(go_fd, path, strlen(path)) < 0 && errno != EPIPE) return fail(FAILED_START, errno);
}

/* Asks the function to end. */
void terminate_function(void) {
  if (cells_are_on()) order_cell(TERMINATE);
  else kill(-child, SIGTERM);
}

/* Kills the function, and what it has started; it is still heard of how it ends. */
void kill_function(void) {
  if (cells_are_on()) order_cell(KILL);
  else kill_all();
}

/* Ends the run: the function's process has ended, even if others still hold its output open. */
void conclude(int status, const struct rusage *usage) {
  int error;
  if (phase() != RUNNING && phase() != RECEIVING) return;
  outcome = (struct outcome){
      .status = status,
      .usage = *usage,
      .wall_us = started_us > 0 ? now_us() - started_us : 0,
  };
  if (!cells_are_on()) { /* a cell ends as a whole */
    if (may_serve_again()) look_for_sockets();
    kill_others();
  }
  if (given.boot) begin_drain();
  close_input();
  wipe_variables(); /* in case it was killed before it took them */
  if (exec_errno_fd >= 0 && read(exec_errno_fd, &error, sizeof error) == sizeof error) return fail(FAILED_EXEC, error);
  enter(DRAINING);
  set_alarm(PATIENCE_US);
}

/* Collects the dead: the function, and as PID 1 every orphan of the container. Returns true while others live. A child
 * that ends before its request is complete was killed for lack of memory, as the function would have been. */
bool reap(void) {
  int status;
  struct rusage usage;
  pid_t pid;
  while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0) {
    if (cells_are_on()) {
      if (cell_died(pid)) conclude(SIGKILL, &(struct rusage){0}); /* the cell was killed, and could not say how */
      continue;
    }
    if (pid == child && phase() == WAITING) leave();
    if (pid == child && phase() == RECEIVING) allow_another(false);
    if (given.boot && ((pid == child && keep_end(status, &usage)) || extension_ended(pid, status))) continue;
    if (pid == child && (phase() == RUNNING || phase() == RECEIVING)) conclude(status, &usage);
  }
  return pid == 0;
}

const struct outcome *function_outcome(void) { return &outcome; }

void close_function(void) {
  close_fd(&go_fd);
  close_fd(&exec_errno_fd);
}

/* Makes ready for the next call. */
void forget_function(void) {
  child = -1;
  prepared = false;
  started_us = 0;
}

/*
 * The child's side of the fork: gets everything ready, waits for a request, and becomes the command.
 *
 * function.c calls this in the process that it has just forked, and cell/init.c in that of a cell. Nothing here runs in the
 * gate itself.
 *
 * Owns no state.
 */
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Executes a command as execvp does, except for files that the kernel cannot run (ENOEXEC): execvp would hand them to a
 * shell, and the engine does not. Returns the errno of the failure. */
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
      if (errno == EACCES) result = EACCES; /* says more than that the other directories lack it */
      else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
        return errno;
    }
    if (*end == '\0') return result;
    dir = end + 1;
  }
}

/* Makes the kernel kill the function, not the gate, if memory runs out: the gate still has to report it. Raising one's
 * own score needs no privilege, but /proc/self belongs to root until we are dumpable again. That is safe here: this
 * process does not have the gate's stdin and stdout, and what else it has of the gate's can only be read. At most the
 * app's own extensions run in the container yet. */
static void prefer_as_victim(void) {
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1000", 4) < 0) { /* Then the kernel goes by size, which nearly always finds the function. */ }
  close(fd);
}

/* Waits for the path of the context. An end without one means that there will be no request. */
static void await_path(int go, char path[PATH_MAX]) {
  ssize_t n;
  do n = read(go, path, PATH_MAX - 1);
  while (n < 0 && errno == EINTR);
  if (n <= 0) _exit(126);
  path[n] = '\0';
}

/* Gives this process what the function is to have: its group, streams and signals. Returns false if a stream is missing. */
bool prepare_function(int input, int output, int error_output) {
  setpgid(0, 0);
  const bool wired = dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(error_output, STDERR_FILENO) >= 0;
  prefer_as_victim();
  umask(given.umask);
  sigaction(SIGPIPE, &given.sigpipe, NULL);
  sigaction(SIGCHLD, &given.sigchld, NULL);
  unsetenv("CONTEXT_PATH"); /* an environment may hold a name twice, and setenv replaces only the first */
  unsetenv("REQUEST_ID");
  return wired;
}

/* Becomes the command, or writes the errno of the failure to `exec_errno`, which an exec closes. */
_Noreturn void become_function(int go, int exec_errno) {
  char path[PATH_MAX];
  await_path(go, path);
  int result = ENOMEM;
  const bool is_set = set_variables(true);
  if (is_set && (given.boot || (setenv("CONTEXT_PATH", path, 1) == 0 && setenv("REQUEST_ID", strrchr(path, '/') + 1, 1) == 0))) {
    sigprocmask(SIG_SETMASK, &given.signals, NULL);
    result = execute(given.command);
  }
  if (write(exec_errno, &result, sizeof result) < 0) _exit(126);
  _exit(127);
}

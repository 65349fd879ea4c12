/*
 * The first process of a cell: a clone of the gate. It makes the cell's mounts, forks the function's process, and waits.
 *
 * When the function has ended it tells the gate so and exits, and with it ends all that is left in the cell. It stays out of
 * the function's reach: it is not dumpable, has more capabilities than any process of the function, and no handlers; and it
 * opens nothing once the function runs.
 *
 * Owns no state.
 */
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sends a message to the gate, with the descriptors that are open. */
bool tell(int link, const struct message *message, const int places[PLACES]) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PLACES)] = {0};
  struct iovec bytes = {(void *)(uintptr_t)message, sizeof *message};
  struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
  int count = 0;
  while (places != NULL && count < PLACES && places[count] >= 0) count++;
  if (count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    *rights = (struct cmsghdr){CMSG_LEN(sizeof(int) * (size_t)count), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(rights), places, sizeof(int) * (size_t)count);
  }
  return sendmsg(link, &header, MSG_NOSIGNAL) == sizeof *message;
}

/* Receives a message from a cell. Returns false at its end, and if there is none now (EAGAIN). */
bool hear(int link, struct message *message, int places[PLACES]) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PLACES)];
  struct iovec bytes = {message, sizeof *message};
  struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  const ssize_t n = recvmsg(link, &header, MSG_CMSG_CLOEXEC);
  for (int i = 0; places != NULL && i < PLACES; i++) places[i] = -1;
  if (n >= 0) errno = 0; /* also if it is no whole message: there is nothing to wait for */
  if (n != sizeof *message) return false;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (rights != NULL && rights->cmsg_type == SCM_RIGHTS && places != NULL)
    memcpy(places, CMSG_DATA(rights), rights->cmsg_len - CMSG_LEN(0));
  return true;
}

static _Noreturn void break_off(int link, const char *where) {
  struct message message = {.kind = BROKEN, .error = errno};
  snprintf(message.where, sizeof message.where, "%s", where);
  tell(link, &message, NULL);
  _exit(1);
}

/* The function's process: gives up what the function does not have, says that the cell is made, and waits for a call. */
static _Noreturn void run_function(const struct plan *plan, struct wiring *wiring, const int places[PLACES], bool probing) {
  const struct message made = {.kind = MADE};
  const int input = given.stdio ? wiring->input : open("/dev/null", O_RDONLY | O_CLOEXEC);
  const char *failed = prepare_function(input, wiring->output[0], wiring->output[1]) ? NULL : "the function's streams";
  if (failed == NULL && chdir(plan->directory) < 0) failed = "the working directory";
  if (failed == NULL) failed = raise_walls();
  if (failed == NULL && probing) failed = probe_walls();
  if (failed != NULL) break_off(wiring->link, failed);
  if (!tell(wiring->link, &made, places)) _exit(1);
  const int kept[] = {wiring->go, wiring->exec_errno};
  close_all_but(kept, 2);
  become_function(wiring->go, wiring->exec_errno);
}

/* Collects the dead. Once the function is among them, the cell ends. */
static void collect(pid_t function, int link) {
  struct message ended = {.kind = ENDED};
  for (;;) {
    const pid_t pid = wait4(-1, &ended.status, WNOHANG | __WALL, &ended.usage);
    if (pid <= 0) return;
    if (pid != function) continue;
    tell(link, &ended, NULL);
    _exit(0);
  }
}

/* Does what the gate asks for. Its end is the cell's. */
static void obey(pid_t function, int link) {
  uint8_t order;
  if (recv(link, &order, 1, 0) != 1) _exit(1);
  if (order == TERMINATE) kill(-function, SIGTERM);
  if (order == KILL) kill(-1, SIGKILL);
}

/* Becomes the first process of the cell that this process is the first of. */
_Noreturn void run_init(const struct plan *plan, struct wiring *wiring, bool probing) {
  const int kept[] = {wiring->link, wiring->go, wiring->exec_errno, wiring->output[0], wiring->output[1], wiring->input};
  int places[PLACES];
  sigset_t watched;
  setsid(); /* a function's kill(0) would otherwise reach the gate */
  close_all_but(kept, sizeof kept / sizeof *kept);
  const char *failed = mount_cell(plan, places);
  if (failed != NULL) break_off(wiring->link, failed);
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  const int signals = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
  const pid_t function = signals < 0 ? -1 : fork();
  if (function < 0) break_off(wiring->link, "the function's process");
  if (function == 0) run_function(plan, wiring, places, probing);
  close_all_but((int[]){wiring->link, signals}, 2);
  setpgid(function, function); /* both sides do it: whichever comes first, a signal to the group finds it */
  hold_sys_admin(false);
  struct pollfd fds[] = {{.fd = wiring->link, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  for (;;) {
    struct signalfd_siginfo info;
    collect(function, wiring->link);
    if (poll(fds, 2, -1) < 0 && errno != EINTR) _exit(1);
    if (fds[1].revents != 0 && read(signals, &info, sizeof info) < 0 && errno != EAGAIN) _exit(1);
    if (fds[0].revents != 0) obey(function, wiring->link);
  }
}

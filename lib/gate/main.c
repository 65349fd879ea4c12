/*
 * Start-up, and the loop that everything runs in.
 *
 *     gate [--stdio | --boot] [--shared=PATH...] [--] COMMAND [ARG...]
 *     gate [--stdio] --cell=... (cell/options.c) [--shared=PATH...] -- COMMAND [ARG...]
 *
 * Each turn of the loop does all that can be done without waiting, then polls stdin, stdout, signals and the function's
 * output, and hands each event to its owner.
 *
 * Owns `given`, the descriptor for signals, and how far the deadline has been enforced.
 */
#include "boot/boot.h"
#include "cell/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The longest wait from the answer to our exit, if the server does not close stdin before: the end of a container keeps
 * the engine busy, and the answer, which passes through the engine too, should be ahead of it. */
#define LINGER_US (50 * 1000ULL)

struct given given;
static int signals;
static enum { IN_TIME, TERMINATED, KILLED } expiry = IN_TIME; /* an expired call is the last one: no way back */

/* Takes signals. One from outside the container shows no process id; one from the function does, and is not obeyed. The
 * function cannot forge that: the kernel fills in the id if the code is SI_USER. */
static void take_signals(void) {
  struct signalfd_siginfo info[8];
  ssize_t n = read(signals, info, sizeof info);
  for (size_t i = 0; n > 0 && i < (size_t)n / sizeof *info; i++) {
    bool outside = info[i].ssi_code == SI_USER && info[i].ssi_pid == 0;
    if (info[i].ssi_signo != SIGCHLD && (outside || !given.is_init)) leave();
  }
  reap();
}

/* Acts on the alarm: time is up for the function to end, for it to die, or for the server to take the answer. */
static void take_alarm(void) {
  const struct rusage none = {0};
  if (phase() == LEAVING) _exit(0);
  if (phase() != RECEIVING && phase() != RUNNING) leave();
  if (given.boot) return take_boot_alarm();
  switch (expiry) {
    case IN_TIME:
      expiry = TERMINATED;
      allow_another(false);
      send_control(EXPIRED, NULL, 0);
      if (phase() == RECEIVING) return conclude(SIGKILL, &none); /* the body came too late; nothing runs yet */
      terminate_function();
      set_alarm(grace_ms() * 1000ULL);
      return;
    case TERMINATED:
      expiry = KILLED;
      kill_function();
      set_alarm(PATIENCE_US);
      return;
    case KILLED: /* and not dead: it has switched to another user, and will die with us */
      leave();
  }
}

static void watch_signals(void) {
  sigset_t watched;
  struct sigaction ignore = {.sa_handler = SIG_IGN}, keep = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
  /* A signal to PID 1 is lost if it has no handler, unless it is blocked: so we block them. STOPSIGNAL of an image may
   * be any of these. */
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGQUIT);
  sigaddset(&watched, SIGHUP);
  sigprocmask(SIG_BLOCK, &watched, &given.signals);
  sigaction(SIGPIPE, &ignore, &given.sigpipe);
  sigaction(SIGCHLD, &keep, &given.sigchld); /* if it was ignored, the kernel would reap in our place */
  signals = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Takes the options in front of the command, and returns the command. */
static char **take_options(char **words) {
  static const char SHARED[] = "--shared=";
  static char *shared[SHARED_MOST + 1];
  given.stdio = *words != NULL && strcmp(*words, "--stdio") == 0;
  given.boot = *words != NULL && strcmp(*words, "--boot") == 0;
  if (given.stdio || given.boot) words++;
  given.shared = shared;
  for (; *words != NULL; words++) {
    if (strncmp(*words, SHARED, sizeof SHARED - 1) != 0) {
      if (!take_cell_option(*words)) break;
    } else if (given.shared_count <= SHARED_MOST) {
      shared[given.shared_count++] = *words + sizeof SHARED - 1;
    }
  }
  return *words != NULL && strcmp(*words, "--") == 0 ? words + 1 : words;
}

static bool set_up(char **command) {
  given.command = command;
  given.is_init = getpid() == 1;
  /* No descriptor of our parent may reach the function. An engine too old for the call passes none on. */
  syscall(SYS_close_range, 3U, ~0U, 0U);
  given.umask = umask(0);
  watch_signals();
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
  open_proc_files();
  open_socket_lists();
  return signals >= 0 && map_variables();
}

/* Returns whether the answer is complete but for the output: an app that has ended may have left bytes in its streams. */
static bool end_is_known(void) { return !given.boot || streams_are_drained(); }

/* Does all that can be done now. */
static void advance(void) {
  if (given.boot) advance_boot();
  if (phase() == DRAINING && end_is_known() && drain_logs() && feed_tail()) given.boot ? conclude_boot() : send_exit();
  if (phase() == ANSWERING) feed_answer();
  if (phase() == RUNNING) send_credit();
  if (phase() == ANSWERING && may_serve_again() && !answer_is_left() && !request_is_unread()) reset_at_once();
  flush_frames();
  if (phase() == WAITING) prepare_ahead();
  /* A server that is still sending its body must find our answer, not a broken pipe: we read until it closes stdin. */
  if (phase() != ANSWERING || !all_sent() || answer_is_left() || request_is_unread()) return;
  if (may_serve_again()) return start_reset();
  enter(LEAVING);
  set_alarm(LINGER_US);
}

/* Returns the shorter of two timeouts of poll(). */
static int shorter(int one, int other) { return one < 0 || (other >= 0 && other < one) ? other : one; }

/* The descriptors that are polled before those of streams. */
enum { OTHERS = 7 + AHEAD };

/* Waits for an event and takes it. */
static void take_events(void) {
  const int held = held_ms();
  const bool sent = all_sent() || held >= 0;
  /* Input that comes now belongs to the next request, and is not read until we are READY for it. */
  const bool early = may_serve_again() && (phase() == ANSWERING || phase() == RESETTING) && !request_is_unread();
  const bool more = sent && ((phase() == DRAINING && end_is_known()) || answer_is_left()); /* there is more to send: do not wait */
  const bool reading = phase() == RUNNING && logs_may_flow() && !tail_is_due();
  struct pollfd fds[OTHERS + STREAM_POLLS] = {
      {.fd = STDIN_FILENO, .events = early ? POLLRDHUP : POLLIN},
      {.fd = STDOUT_FILENO, .events = sent ? 0 : POLLOUT},
      {.fd = signals, .events = POLLIN},
      {.fd = reading && (!given.stdio || output_may_flow()) ? log_fd(0) : -1, .events = POLLIN},
      {.fd = reading ? log_fd(1) : -1, .events = POLLIN},
      {.fd = waiting_input(), .events = POLLOUT},
  };
  struct pollfd *const cells = fds + OTHERS - 1 - AHEAD;
  for (int i = 0; i <= AHEAD; i++) cells[i] = (struct pollfd){.fd = cell_link(i), .events = POLLIN};
  const int streams = given.boot ? poll_streams(fds + OTHERS) : 0;
  const int recheck = given.boot ? boot_recheck_ms() : cell_recheck_ms();
  const int timeout = shorter(shorter(poll_timeout(), recheck), held);
  if (poll(fds, (nfds_t)(OTHERS + streams), more ? 0 : timeout) < 0 && errno != EINTR) leave();
  if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) leave(); /* the reader is gone */
  if (fds[0].revents && early) leave(); /* POLLRDHUP comes even if there is something unread */
  if (fds[0].revents) receive();
  for (int i = 0; i <= AHEAD; i++)
    if (cells[i].revents) hear_cell(i);
  if (fds[2].revents) take_signals();
  if (alarm_is_due()) take_alarm();
  if (fds[3 + LOGS].revents) feed_input();
  make_beside_long_call();
  /* In turns, so that neither takes all of the room in the buffer of frames. */
  static bool streams_first;
  streams_first = !streams_first;
  if (streams > 0 && streams_first) relay_streams(fds + OTHERS, streams);
  for (int i = 0; i < LOGS; i++)
    if (fds[3 + i].revents && phase() == RUNNING && logs_may_flow()) read_log(i);
  if (streams > 0 && !streams_first) relay_streams(fds + OTHERS, streams);
}

int main(int argc, char **argv) {
  /* First of all: a process of the same user could otherwise open our descriptors through /proc. */
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  char **command = argc < 1 ? argv : take_options(argv + 1);
  if (*command == NULL || (given.boot && cell_setting.wanted)) {
    fputs("usage: gate [--stdio | --boot] [--shared=PATH...] [--] COMMAND [ARG...]\n", stderr);
    return 2;
  }
  if (!set_up(command)) return 1;
  const char *no_cells = cell_setting.wanted ? start_cells() : NULL;
  send_ready(no_cells);
  for (;;) {
    advance();
    if (phase() == RESETTING && !reset_must_wait()) finish_reset();
    else take_events();
  }
}

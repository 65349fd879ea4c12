/*
 * The gate's side of cells: makes one ahead of each call, starts the function in it, and hears of its end.
 *
 * Two wait, with everything done but the exec: so there is one for the next call as soon as nothing is left of the last,
 * and another is made while the gate waits. Calls that come one after the other wait for no cell. The first is made beside
 * a call that takes long, or else when that has been answered: made earlier it would keep a processor from a short one.
 *
 * Owns the cells.
 */
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A cell that is not made within this time will not be. */
enum { MAKING_MS = 10000 };
/* A call that takes longer is a long one. */
enum { LONG_CALL_MS = 10 };
/* The pauses between looks for what a cell may have left, and the longest wait for its end: the kernel's collector takes 5 to
 * 40 ms. */
enum { RECHECK_MS = 2 };
#define LEFT_US (1000 * 1000ULL)

struct cell {
  enum { NO_CELL, MAKING, READY_TO_GO, IN_USE, OVER } state;
  pid_t init; /* 0 once it has been waited for */
  int link, go, exec_errno, input, output[LOGS], output_end[LOGS];
  int places[PLACES];
};
#define NO_DESCRIPTORS \
  .link = -1, .go = -1, .exec_errno = -1, .input = -1, .output = {-1, -1}, .output_end = {-1, -1}, .places = {-1, -1}
static const struct cell NOTHING = {NO_DESCRIPTORS};
static struct cell current = {NO_DESCRIPTORS}, ahead[AHEAD] = {{NO_DESCRIPTORS}, {NO_DESCRIPTORS}};
static struct plan plan;
static char problem[256];
static uint64_t ended_us; /* when the last one was gone, but perhaps not what it left */
static uint64_t taken_us; /* when the one in use was taken */
static bool tried;        /* to make one for the next call, since then */
static bool on;

bool cells_are_on(void) { return on; }

/* Returns the descriptor of a directory of the cell in use. */
int cell_place(int place) { return current.places[place]; }

/* Returns the descriptor to poll for what a cell has to say: of the one in use (0), or one that waits (1 to AHEAD). */
int cell_link(int which) { return which == 0 ? current.link : ahead[which - 1].link; }

/* Returns one of those ahead that is in this state, or NULL. One that was given up keeps its place until it is dead. */
static struct cell *one_ahead(int state) {
  for (struct cell *cell = ahead; cell < ahead + AHEAD; cell++)
    if ((int)cell->state == state && (state != NO_CELL || cell->init == 0)) return cell;
  return NULL;
}

/* Returns whether the next call has a cell, or will have. */
static bool next_is_coming(void) { return one_ahead(READY_TO_GO) != NULL || one_ahead(MAKING) != NULL; }

/* Returns the number of sockets of the cells ahead: both ends of each link, or ours if the other is closed. */
static int sockets_ahead(void) {
  int count = 0;
  for (struct cell *cell = ahead; cell < ahead + AHEAD; cell++) {
    struct pollfd link = {.fd = cell->link};
    if (cell->link >= 0) count += poll(&link, 1, 0) == 1 ? 1 : CELL_SOCKETS;
  }
  return count;
}

static void discard(struct cell *cell) {
  if (cell->init > 0) kill(cell->init, SIGKILL);
  const pid_t init = cell->init;
  close_fd(&cell->link);
  close_fd(&cell->go);
  close_fd(&cell->exec_errno);
  close_fd(&cell->input);
  for (int i = 0; i < LOGS; i++) {
    close_fd(&cell->output[i]);
    close_fd(&cell->output_end[i]);
  }
  for (int i = 0; i < PLACES; i++) close_fd(&cell->places[i]);
  *cell = NOTHING;
  cell->init = init; /* still to be waited for */
}

/* Notes why there is no cell: what could not be made, or, without an error, what is wrong with it. */
static void note_problem(const char *what, int error) {
  if (error == 0) snprintf(problem, sizeof problem, "%s", what);
  else snprintf(problem, sizeof problem, "the gate cannot set up %s (%s)", what, strerror(error));
}

/* Clones this process into new namespaces: a fork whose child is the first process there. */
static pid_t clone_into_namespaces(void) {
  hold_sys_admin(true);
  const unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD;
  const pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
  if (pid == 0) return 0;
  const int error = errno;
  hold_sys_admin(false);
  errno = error;
  return pid;
}

/* Opens the pipes and the socket of a cell: ours into `cell`, its into `wiring`. The function's streams belong to its user,
 * so that it can open /dev/stdin and /dev/stdout. */
static bool wire(struct cell *cell, struct wiring *wiring) {
  int ends[2];
  *wiring = (struct wiring){-1, -1, -1, {-1, -1}, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  cell->link = ends[0];
  wiring->link = ends[1];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  wiring->go = ends[0];
  cell->go = ends[1];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  cell->exec_errno = ends[0];
  wiring->exec_errno = ends[1];
  fcntl(cell->link, F_SETFL, O_NONBLOCK);
  fcntl(cell->exec_errno, F_SETFL, O_NONBLOCK);
  if (given.stdio) {
    cell->input = open_input(&wiring->input);
    if (cell->input < 0 || fchown(cell->input, cell_setting.uid, cell_setting.gid) < 0) return false;
  }
  for (int i = 0; i < LOGS; i++) {
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    cell->output[i] = ends[0];
    wiring->output[i] = cell->output_end[i] = ends[1];
    fcntl(cell->output[i], F_SETFL, O_NONBLOCK);
    if (fchown(ends[1], cell_setting.uid, cell_setting.gid) < 0) return false;
  }
  return true;
}

static void make(struct cell *cell, bool probing) {
  struct wiring wiring;
  *cell = NOTHING;
  const bool wired = wire(cell, &wiring);
  const pid_t pid = wired ? clone_into_namespaces() : -1;
  if (pid == 0) run_init(&plan, &wiring, probing);
  if (pid < 0) note_problem(wired ? "new namespaces" : "pipes of the function's user", errno);
  close_fd(&wiring.link);
  close_fd(&wiring.go);
  close_fd(&wiring.exec_errno);
  close_fd(&wiring.input);
  cell->init = pid < 0 ? 0 : pid;
  cell->state = MAKING;
  if (pid < 0) discard(cell);
}

/* Begins to make the cell of the next call, once for each call, if there is none. If that fails for now, it is tried again
 * when this call's cell is gone. */
void make_next_cell(void) {
  struct cell *place = one_ahead(NO_CELL);
  if (!on || tried || !may_serve_again() || next_is_coming() || place == NULL) return;
  tried = true;
  make(place, false);
}

/* Begins to make another one while the gate waits, once there has been a call: an instance that nobody calls should be
 * small. If that fails, the end of the next call is soon enough for the one after it. */
void make_another_cell(void) {
  struct cell *place = one_ahead(NO_CELL);
  if (taken_us > 0 && place != NULL && one_ahead(MAKING) == NULL) make(place, false);
}

/* Makes the next cell beside a call that has become a long one. */
void make_beside_long_call(void) {
  if (phase() == RUNNING && now_us() - taken_us >= LONG_CALL_MS * 1000ULL) make_next_cell();
}

/* Takes what a cell that is being made says. */
static void hear_of_making(struct cell *cell) {
  struct message message;
  if (hear(cell->link, &message, cell->places)) {
    if (message.kind == MADE) {
      cell->state = READY_TO_GO;
      return;
    }
    note_problem(message.where, message.error);
  } else if (errno == EAGAIN || errno == EINTR) {
    return;
  } else {
    snprintf(problem, sizeof problem, "the first process of a cell ends at once");
  }
  discard(cell);
}

/* Waits until a cell is made, before there is a server that could wait for anything else. */
static bool wait_for(struct cell *cell) {
  while (cell->state == MAKING) {
    struct pollfd fd = {.fd = cell->link, .events = POLLIN};
    if (poll(&fd, 1, MAKING_MS) == 0) {
      snprintf(problem, sizeof problem, "a cell is not made within %d s", MAKING_MS / 1000);
      discard(cell);
    } else {
      hear_of_making(cell);
    }
  }
  return cell->state == READY_TO_GO;
}

/* Ends a cell without a call. */
static void end_now(struct cell *cell) {
  discard(cell);
  if (cell->init > 0) waitpid(cell->init, NULL, __WALL);
  *cell = NOTHING;
}

/* Makes the first cell, tries its walls, and makes the one of the first call. Returns why there are none, or NULL. */
const char *start_cells(void) {
  hold_sys_admin(false);
  if (cell_setting.context == NULL || !given.is_init) return "the gate was started without what a cell needs";
  if (!make_plan(&plan)) return plan_refusal();
  struct cell *first = &ahead[0];
  make(first, true);
  const bool proven = wait_for(first);
  end_now(first);
  if (!proven) return problem;
  if (!note_sockets(cell_setting.shares_network)) return "the sockets of the network namespace cannot be counted";
  make(first, false);
  if (!wait_for(first)) {
    end_now(first);
    return problem;
  }
  on = true;
  return NULL;
}

/* Takes a cell into use. Returns false if there is none: then the gate has said READY too early. */
bool take_next_cell(void) {
  struct cell *next = one_ahead(READY_TO_GO);
  if (next == NULL) return false;
  note_fewer_sockets(sockets_ahead());
  current = *next;
  current.state = IN_USE;
  taken_us = now_us();
  tried = false;
  *next = NOTHING;
  adopt_logs(current.output, current.output_end);
  current.output[0] = current.output[1] = current.output_end[0] = current.output_end[1] = -1;
  adopt_function(current.init, current.go, current.exec_errno);
  adopt_input(current.input);
  current.go = current.exec_errno = current.input = -1;
  return true;
}

/* Gives a cell up that waits. Another one is made when the call has ended; while none goes on, the server has been told that
 * there is one, and if this was the last, the gate ends. */
static void lose(struct cell *cell) {
  discard(cell);
  if (phase() == WAITING && one_ahead(READY_TO_GO) == NULL) leave();
}

/* Takes what a cell says: the one in use (0), or one that waits (1 to AHEAD). */
void hear_cell(int which) {
  struct message message;
  if (which > 0) {
    struct cell *cell = &ahead[which - 1];
    if (cell->state == MAKING) return hear_of_making(cell);
    return lose(cell); /* it was ready, and its process has been killed for want of memory */
  }
  if (hear(current.link, &message, NULL)) {
    if (message.kind != ENDED) return;
    close_fd(&current.link);
    current.state = OVER;
    conclude(message.status, &message.usage);
    return;
  }
  if (errno == EAGAIN || errno == EINTR) return;
  close_fd(&current.link);
}

/* Tells the first process of the cell in use what to do. */
void order_cell(uint8_t order) {
  if (current.link >= 0 && send(current.link, &order, 1, MSG_NOSIGNAL) < 0) kill_cell();
}

/* Ends the cell in use at once. */
void kill_cell(void) {
  if (current.init > 0) kill(current.init, SIGKILL);
}

/* Takes note that a process has been waited for. Returns whether it was the first one of the cell in use, and that has not
 * told the end of its function. */
bool cell_died(pid_t pid) {
  for (struct cell *cell = ahead; cell < ahead + AHEAD; cell++) {
    if (pid != cell->init) continue;
    cell->init = 0;
    if (cell->state != NO_CELL) lose(cell);
  }
  if (pid != current.init) return false;
  while (current.link >= 0) hear_cell(0);
  const bool untold = current.state == IN_USE;
  current.state = OVER;
  current.init = 0;
  ended_us = now_us();
  return untold;
}

/* Closes what is open of the cell in use. */
void close_cell(void) {
  for (int i = 0; i < PLACES; i++) close_fd(&current.places[i]);
}

/* Returns whether nothing is left of the last cell, and the next one is there. */
bool cell_has_ended(void) {
  if (current.init > 0) return false;
  if (current.state == OVER) {
    if (cell_left_sockets(sockets_ahead())) {
      if (now_us() - ended_us > LEFT_US) leave();
      return false;
    }
    current = NOTHING;
  }
  struct cell *place = one_ahead(NO_CELL);
  if (!next_is_coming() && place != NULL) make(place, false);
  return one_ahead(READY_TO_GO) != NULL;
}

/* Returns how soon there is something to do for cells though nothing happens, in milliseconds; -1 if there is nothing. */
int cell_recheck_ms(void) {
  if (!on) return -1;
  if (phase() == RUNNING && !tried && may_serve_again() && !next_is_coming()) return LONG_CALL_MS;
  if (phase() != RESETTING) return -1;
  if (current.init == 0 && current.state == OVER) return RECHECK_MS;
  return next_is_coming() ? -1 : RECHECK_MS;
}

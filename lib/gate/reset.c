/*
 * From an answer to the next READY, in a container that serves more than one call.
 *
 * There are two ways. reset_at_once() is for a function that left neither a process nor a file outside its context:
 * main.c tries it before the answer is sent, so that READY goes with the answer. Otherwise start_reset() kills what is
 * left, and finish_reset() removes the files when the last process is dead, lest it make new ones.
 * Sockets in flight outlive even that, and what they hold (clear.c).
 *
 * The places where functions usually write are cleared, and every mount. The rest of the container's writable layer stays
 * as it is: that is the price of the isolation `process`.
 *
 * Owns nothing but whether the image can serve more than one call.
 */
#include "cell/cell.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Files that a context holds by the protocol. */
static const char *const OWN_FILES[] = {"request.json",  "request.meta.json",  "request.body",
                                        "response.json", "response.meta.json", "response.body"};

/* Returns whether a file at `path` would be cleared away. */
static bool is_perishable(const char *path) {
  char real[PATH_MAX];
  if (realpath(path, real) == NULL) return false;
  return strncmp(real, "/tmp/", 5) == 0 || strncmp(real, "/dev/shm/", 9) == 0;
}

/* Returns whether the image can serve more than one call. It cannot if it keeps its working directory, its program or a
 * file that its command names in a place that we clear, or has volumes that cannot be compared. Call it before the first
 * run, when all files there came with the image, and before the context is made. */
bool is_reusable(void) {
  static enum { UNKNOWN, YES, NO } answer;
  if (cells_are_on()) return true;
  if (answer == UNKNOWN) {
    answer = given.is_init && is_perishable(".") ? NO : YES;
    for (char **word = given.command; given.is_init && *word != NULL; word++)
      if (is_perishable(*word)) answer = NO;
    char root[PATH_MAX];
    context_root(root);
    if (answer == YES && !remember(root)) answer = NO;
    look_for_sockets();
  }
  return answer == YES;
}

/* Closes what is still open of a call at its end. */
static void close_call(void) {
  close_function();
  close_context();
  close_answer();
}

/* Says READY again. Nothing is left of the call. */
static void begin_anew(void) {
  forget_function();
  reset_logs();
  reset_streams();
  allow_another(false);
  clear_alarm();
  enter(WAITING);
  send_ready(NULL);
}

/* Lets go of the cell of the call. Returns whether it is gone, and the next one is there. */
static bool reset_cell(void) {
  close_call();
  close_cell();
  if (!cell_has_ended()) return false;
  begin_anew();
  return true;
}

/* Returns whether something is awaited before finish_reset(). */
bool reset_must_wait(void) {
  const bool others_live = reap();
  return cells_are_on() ? !cell_has_ended() : others_live;
}

/* Does the whole reset in less time than it takes to send the answer, which spares everyone between here and the
 * server one wake-up. Returns false, with the rest still to be cleared, if the function left more than that. */
bool reset_at_once(void) {
  char root[PATH_MAX];
  if (cells_are_on()) return reset_cell();
  context_root(root);
  if (!alone() || sockets_may_be_left()) return false;
  if (access(root, W_OK) < 0 || !holds_only(root, context_id())) return false;
  const char *in_tmp = strncmp(root, "/tmp/", 5) == 0 ? root + 5 : "";
  if (!holds_only("/tmp", in_tmp) || !holds_only("/dev/shm", "") || !holds_only("/dev/mqueue", "")) return false;
  if (!clear_ipc_objects() || !process_is_kept()) return false;
  for (size_t i = 0; i < sizeof OWN_FILES / sizeof *OWN_FILES; i++) unlinkat(context_descriptor(), OWN_FILES[i], 0);
  if (secrets_were_given() && !clear_directory(SECRETS)) return false;
  if (rmdir(context_path()) < 0) return false;
  close_call(); /* or the files that were just removed would still count */
  if (!mounts_are_kept()) return false;
  begin_anew();
  return true;
}

/* Kills what the function started. */
void start_reset(void) {
  if (!cells_are_on()) kill_others();
  make_next_cell();
  close_call();
  close_cell();
  enter(RESETTING);
  set_alarm(PATIENCE_US);
}

/* Returns whether every mount is as it was, perhaps not before files that were in flight are closed. */
static bool mounts_are_kept_at_last(void) { return mounts_are_kept() || (collect_sockets() && mounts_are_kept()); }

/* Clears all but the context. Functions seldom use message queues, but these outlive their processes and count as
 * memory. */
static bool clear_container(void) {
  look_for_sockets();
  if (sockets_may_be_left() && !collect_sockets()) return false;
  return clear_directory("/tmp") && clear_directory("/dev/shm") && clear_directory("/dev/mqueue") &&
         (!secrets_were_given() || clear_directory(SECRETS)) && clear_ipc_objects() && clear_mounts() &&
         mounts_are_kept_at_last();
}

/* Clears away what can hold a trace of the call, once no process is left, and says READY again. */
void finish_reset(void) {
  char root[PATH_MAX];
  if (cells_are_on()) return begin_anew();
  context_root(root);
  if (access(root, W_OK) < 0 || !clear_directory(root)) leave();
  /* Tests run the gate as a plain process, on a machine whose /tmp is not ours to clear. */
  if (given.is_init && !clear_container()) leave();
  if (!process_is_kept()) leave();
  begin_anew();
}

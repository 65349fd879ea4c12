/*
 * Whether an instance has finished starting. A port can listen long before that: the master of gunicorn binds it, and then
 * its workers load the application. Frozen that early, it would load it during the first call.
 *
 * An instance is calm when its processes have used next to no processor time for a while, and none waits for a processor, as
 * it does on a busy machine, or for a disk.
 *
 * And whether it has settled after a call. Many servers print once the answer is out: an access log, the stack of an error.
 * Stopped or ended at that moment, they would say it in the next call, or never. It has settled when none of its threads runs
 * in two looks in a row.
 *
 * Owns the last look at either time.
 */
#include "boot.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Looks come every 0.1 s; up to each of two in a row there must be no more than one of the kernel's ticks (0.01 s). After 10 s an instance
 * counts as one that is always busy. */
enum { LOOK_US = 100000, CALM_LOOKS = 2, TICKS_MOST = 1 };
#define LONGEST_US (10 * 1000000ULL)

/* After a call, looks come every 5 ms. One that never rests is waited for until it has used 0.1 s of processor time since the call, in the
 * kernel's ticks, and 1 s by the clock if it waits for a processor: on a busy machine, or one that its own limit keeps from running. */
enum { SETTLE_LOOK_US = 5000, SETTLE_LOOKS = 2, SETTLE_LEAST_US = 100000, SETTLE_MOST_US = 1000000, SETTLE_TICKS = 10 };

static uint64_t began_us, look_at_us, ticks_before;
static int calm_looks;
static bool calm;
static uint64_t call_end_us, settle_at_us;
static uint64_t settle_ticks; /* what the processes had used at the first look that found one running, if it is_counted */
static int idle_looks;
static bool settling, is_counted;

/* What processes have used, and whether one of them is running, or waits for a processor or a disk. */
struct use {
  uint64_t ticks;
  bool is_busy;
};

/* Adds what a file of the form of /proc/PID/stat says, unless its process or thread is gone. */
static void add_stat(struct use *use, const char *path) {
  char text[1024];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  close_fd(&fd);
  if (n <= 0) return;
  text[n] = '\0';
  /* The name of the program may hold anything, also parentheses. Behind it come the state and ten numbers, then utime and stime. */
  unsigned long long user = 0, system = 0;
  char state = 0;
  const char *end = strrchr(text, ')');
  if (end == NULL || sscanf(end + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &state, &user, &system) != 3) return;
  use->ticks += user + system;
  if (state == 'R' || state == 'D') use->is_busy = true;
}

static void add_process(struct use *use, const char *pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.32s/stat", pid);
  add_stat(use, path);
}

/* Does the same for each thread of a process: whether one of them runs. */
static void add_threads(struct use *use, const char *pid) {
  char path[96];
  snprintf(path, sizeof path, "/proc/%.32s/task", pid);
  DIR *tasks = opendir(path);
  if (tasks == NULL) return;
  for (const struct dirent *entry; !use->is_busy && (entry = readdir(tasks)) != NULL;) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    snprintf(path, sizeof path, "/proc/%.32s/task/%.32s/stat", pid, entry->d_name);
    add_stat(use, path);
  }
  closedir(tasks);
}

/* Looks at all processes but ours, as `add` does at one. Outside of a container only the command's counts. */
static struct use look(void (*add)(struct use *use, const char *pid)) {
  struct use use = {0};
  if (!given.is_init) {
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)function_process());
    add(&use, pid);
    return use;
  }
  DIR *proc = opendir("/proc");
  if (proc == NULL) return use;
  for (const struct dirent *entry; (entry = readdir(proc)) != NULL;)
    if (isdigit((unsigned char)entry->d_name[0]) && strcmp(entry->d_name, "1") != 0) add(&use, entry->d_name);
  closedir(proc);
  return use;
}

/* Returns whether a thread of the instance is running, or waits for a processor or a disk. */
bool has_running_thread(void) { return look(add_threads).is_busy; }

/* Takes the start of an instance that is to be watched. */
void begin_watch(void) {
  began_us = now_us();
  look_at_us = began_us + LOOK_US;
  ticks_before = look(add_process).ticks;
}

/* Returns the microseconds until the next look. */
uint64_t next_look_us(void) {
  const uint64_t now = now_us(), at = settling ? settle_at_us : look_at_us;
  return at <= now ? 0 : at - now;
}

/* Returns whether the instance has been calm. Once it has, it is for good. */
bool has_been_calm(void) {
  if (calm || look_at_us > now_us()) return calm;
  const struct use now = look(add_process);
  /* A process that has ended takes its ticks along. */
  const bool is_quiet = !now.is_busy && now.ticks <= ticks_before + TICKS_MOST && ticks_before <= now.ticks + TICKS_MOST;
  ticks_before = now.ticks;
  look_at_us = now_us() + LOOK_US;
  calm_looks = is_quiet ? calm_looks + 1 : 0;
  calm = calm_looks >= CALM_LOOKS || now_us() - began_us >= LONGEST_US;
  return calm;
}

/* Takes the end of the last call that was under way. */
void begin_settling(void) {
  settling = true;
  is_counted = false;
  idle_looks = 0;
  call_end_us = now_us();
  settle_at_us = call_end_us + SETTLE_LOOK_US;
}

/* Returns whether an app that still runs after its call has had its time. */
static bool has_had_its_time(uint64_t since_us) {
  if (!is_counted) settle_ticks = look(add_process).ticks;
  is_counted = true;
  if (since_us < SETTLE_LEAST_US) return false;
  /* A process that has ended takes its ticks along: the clock ends the wait then. */
  return since_us >= SETTLE_MOST_US || look(add_process).ticks >= settle_ticks + SETTLE_TICKS;
}

/* Returns whether the app has said what it has to say after its last call. */
bool has_settled(void) {
  if (!settling) return true;
  const uint64_t now = now_us();
  if (now < settle_at_us) return false;
  settle_at_us = now + SETTLE_LOOK_US;
  if (!has_running_thread()) settling = ++idle_looks < SETTLE_LOOKS;
  else if (has_had_its_time(now - call_end_us)) settling = false;
  else idle_looks = 0;
  return !settling;
}

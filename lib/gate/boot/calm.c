/*
 * Whether an instance has finished starting. A port can listen long before that: the master of gunicorn binds it, and then
 * its workers load the application. Frozen that early, it would load it during the first call.
 *
 * An instance is calm when its processes have used next to no processor time for a while, and none waits for a processor, as
 * it does on a busy machine, or for a disk.
 *
 * Owns the last look at that time.
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

static uint64_t began_us, look_at_us, ticks_before;
static int calm_looks;
static bool calm;

/* What processes have used, and whether one of them is running, or waits for a processor or a disk. */
struct use {
  uint64_t ticks;
  bool is_busy;
};

/* Adds a process, unless it is gone. */
static void add_process(struct use *use, const char *pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%.32s/stat", pid);
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

/* Looks at all processes but ours. Outside of a container only the command's counts. */
static struct use look(void) {
  struct use use = {0};
  if (!given.is_init) {
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)function_process());
    add_process(&use, pid);
    return use;
  }
  DIR *proc = opendir("/proc");
  if (proc == NULL) return use;
  for (const struct dirent *entry; (entry = readdir(proc)) != NULL;)
    if (isdigit((unsigned char)entry->d_name[0]) && strcmp(entry->d_name, "1") != 0) add_process(&use, entry->d_name);
  closedir(proc);
  return use;
}

/* Takes the start of an instance that is to be watched. */
void begin_watch(void) {
  began_us = now_us();
  look_at_us = began_us + LOOK_US;
  ticks_before = look().ticks;
}

/* Returns the microseconds until the next look. */
uint64_t next_look_us(void) {
  const uint64_t now = now_us();
  return look_at_us <= now ? 0 : look_at_us - now;
}

/* Returns whether the instance has been calm. Once it has, it is for good. */
bool has_been_calm(void) {
  if (calm || next_look_us() > 0) return calm;
  const struct use now = look();
  /* A process that has ended takes its ticks along. */
  const bool is_quiet = !now.is_busy && now.ticks <= ticks_before + TICKS_MOST && ticks_before <= now.ticks + TICKS_MOST;
  ticks_before = now.ticks;
  look_at_us = now_us() + LOOK_US;
  calm_looks = is_quiet ? calm_looks + 1 : 0;
  calm = calm_looks >= CALM_LOOKS || now_us() - began_us >= LONGEST_US;
  return calm;
}

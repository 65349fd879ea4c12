/*
 * Stops the processes of an instance, and lets them go on.
 *
 * The master of gunicorn or uvicorn takes a worker for dead that has not given a sign of life for a while. After a long
 * freeze none has, and a master that wakes first kills them all. So workers go on first, the processes without children,
 * and their masters when those have had the time to give their signs.
 *
 * Owns whether the instance is stopped, and since when.
 */
#include "boot.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The processes that are told apart; where there are more, all go on at once. */
enum { PROCESSES_MOST = 1024 };
/* A long freeze: a master waits longer than that for a sign of life. */
#define LONG_US (3 * 1000000ULL)
/* Looks for whether the workers rest come every millisecond, and two in a row must say so. */
enum { LOOK_US = 1000, IDLE_LOOKS = 2, WAIT_MOST_US = 50000 };

static bool stopped, waking; /* waking: the workers go on, and their masters do not */
static uint64_t stopped_us, woken_us, look_at_us;
static int idle_looks;

bool is_frozen(void) { return stopped || waking; }

void stop_processes(void) {
  stopped = true;
  stopped_us = now_us();
  signal_all(SIGSTOP);
}

struct process {
  int pid, parent;
};

/* Reads who the parent of a process is. Returns false of one that has ended. */
static bool read_process(struct process *process, const char *pid) {
  char path[64], text[1024], state = 'X';
  snprintf(path, sizeof path, "/proc/%.32s/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  close_fd(&fd);
  if (n <= 0) return false;
  text[n] = '\0';
  const char *end = strrchr(text, ')'); /* the name of the program may hold anything */
  process->pid = atoi(pid);
  return end != NULL && sscanf(end + 1, " %c %d", &state, &process->parent) == 2 && state != 'Z' && state != 'X';
}

/* Lists the processes of the container but ourselves. Returns how many there are, or -1 if there are too many. */
static int list_processes(struct process found[PROCESSES_MOST]) {
  int count = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return -1;
  for (const struct dirent *entry; count >= 0 && (entry = readdir(proc)) != NULL;) {
    struct process process;
    if (!isdigit((unsigned char)entry->d_name[0]) || strcmp(entry->d_name, "1") == 0) continue;
    if (!read_process(&process, entry->d_name)) continue;
    if (count == PROCESSES_MOST) count = -1;
    else found[count++] = process;
  }
  closedir(proc);
  return count;
}

static bool has_child(const struct process *processes, int count, int pid) {
  for (int i = 0; i < count; i++)
    if (processes[i].parent == pid) return true;
  return false;
}

/* Lets the processes without children go on. Returns whether there are others. */
static bool wake_workers(void) {
  static struct process processes[PROCESSES_MOST];
  const int count = given.is_init ? list_processes(processes) : -1;
  bool is_other = false;
  for (int i = 0; i < count; i++) {
    if (has_child(processes, count, processes[i].pid)) is_other = true;
    else kill(processes[i].pid, SIGCONT);
  }
  return is_other;
}

/* Lets all processes go on now. */
void wake_all(void) {
  if (is_frozen()) signal_all(SIGCONT);
  stopped = waking = false;
}

/* Lets the processes go on: after a long freeze first the workers, and wake_masters() does the rest. */
void wake_processes(void) {
  if (!stopped) return;
  const uint64_t now = now_us();
  if (now - stopped_us < LONG_US || !wake_workers()) return wake_all();
  stopped = false;
  waking = true;
  idle_looks = 0;
  woken_us = now;
  look_at_us = now + LOOK_US;
}

/* Lets the masters go on as soon as their workers rest. */
void wake_masters(void) {
  const uint64_t now = now_us();
  if (!waking || now < look_at_us) return;
  look_at_us = now + LOOK_US;
  idle_looks = has_running_thread() ? 0 : idle_looks + 1;
  if (idle_looks >= IDLE_LOOKS || now - woken_us >= WAIT_MOST_US) wake_all();
}

/* Returns the milliseconds until wake_masters() has something to do, or -1. */
int waking_ms(void) { return waking ? 1 : -1; }

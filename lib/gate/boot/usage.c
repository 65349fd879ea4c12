/*
 * The memory that an instance has taken at most, for the app that asks for its calls: it does not end with each of them, and so
 * there is no rusage to read.
 *
 * The cgroup's own peak has all of the container: processes that are gone, files in a tmpfs, and the kernel's cache of files that
 * it has read. Kernels before 5.19 keep none in cgroup v2. Then it is the sum of the largest resident sets of the processes that
 * live, in which pages that several share count several times. Which of the two it is goes with the number.
 */
#include "boot.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FROM_CGROUP = 1, FROM_PROCESSES = 2, USED_SIZE = 9 };

/* Reads the beginning of a file as text. Returns false if there is none. */
static bool read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
  close_fd(&fd);
  if (n <= 0) return false;
  text[n] = '\0';
  return true;
}

static uint64_t cgroup_peak(void) {
  char text[32];
  const bool found = read_text("/sys/fs/cgroup/memory.peak", text, sizeof text) ||
                     read_text("/sys/fs/cgroup/memory/memory.max_usage_in_bytes", text, sizeof text);
  return found ? strtoull(text, NULL, 10) : 0;
}

/* Returns the largest resident set of a process, or 0 if it is gone. */
static uint64_t resident_peak(const char *pid) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%.32s/status", pid);
  if (!read_text(path, text, sizeof text)) return 0;
  const char *at = strstr(text, "\nVmHWM:");
  return at == NULL ? 0 : strtoull(at + strlen("\nVmHWM:"), NULL, 10) * 1024;
}

static uint64_t processes_peak(void) {
  uint64_t sum = 0;
  DIR *processes = opendir("/proc");
  if (processes == NULL) return 0;
  for (const struct dirent *entry; (entry = readdir(processes)) != NULL;)
    if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid()) sum += resident_peak(entry->d_name);
  closedir(processes);
  return sum;
}

/* Says how much memory the instance has taken until now. */
void send_used(void) {
  uint8_t payload[USED_SIZE];
  const uint64_t peak = given.is_init ? cgroup_peak() : 0; /* a test's cgroup is not ours alone */
  put(put(payload, peak > 0 ? peak : processes_peak(), 8), peak > 0 ? FROM_CGROUP : FROM_PROCESSES, 1);
  send_control(USED, payload, sizeof payload);
}

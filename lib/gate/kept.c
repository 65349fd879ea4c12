/*
 * What has to be as it was before the first call: what others can change about our process, and every mount that a
 * function may write to. Where a difference cannot be cleared away, the container goes.
 *
 * reset.c calls remember() before the first run, and the others between two calls.
 *
 * A function may run as our user, and then it can set our limits, niceness, scheduling, affinity and the like; as root also
 * what /proc shows as files. All of it passes on to the next function's process.
 *
 * A mount that was empty is emptied. One that was not (a volume with files of its image, /dev, /etc/hosts) is compared by a
 * keyed sum over what a function cannot forge: inode numbers and, for files, the time of the last change, which nobody can
 * set. The free space of each tmpfs is compared too: a deleted file in a socket that is in flight outlives its process.
 *
 * Named volumes, whose data is meant to outlive calls, are left alone: the server says where they are.
 *
 * Owns what is remembered.
 */
#include "gate.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* The most mounts, and what one of them may hold: beyond it, comparing takes longer than a new container is worth. */
enum { MOUNTS = 64, MOUNT_DEPTH = 32, MOUNT_ENTRIES = 1000 };
/* The most entries of a directory that are compared one by one. */
enum { QUICK_ENTRIES = 32 };
/* Files of /proc/self that root can write to for another process; all of them are short. */
static const char *const PROC_FILES[] = {"/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/autogroup"};
enum { PROC = sizeof PROC_FILES / sizeof *PROC_FILES };
/* Filesystems that hold nothing of a function's: what can be changed there is not a file, or ends with its process. */
static const char *const NOT_FILES[] = {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs"};
/* Directories that are emptied whatever they held, and whether mounts or not. */
static const char *const CLEARED[] = {"/tmp", "/dev/shm", "/dev/mqueue"};

struct process {
  struct rlimit limits[RLIM_NLIMITS];
  uint64_t scheduling[8]; /* struct sched_attr: policy, niceness, clamps */
  unsigned long affinity[128];
  long niceness, io_priority, timer_slack;
  char proc[PROC][64];
};

/* An entry of a FULL mount's root, for a comparison without listing it. */
struct entry {
  char *name;
  uint64_t sum;
};

struct mount {
  char *path;
  int fd; /* of the root: a path takes several times as long to look up */
  enum { CLEARED_WHOLE, EMPTY, FULL } kind;
  struct timespec listed; /* when the root's list of names last changed; 0 if it must be read every time */
  struct entry *entries;
  int entry_count;
  uint64_t sum; /* of the whole if it is FULL, else of its root */
  bool counted; /* a tmpfs, whose free space is comparable */
  uint64_t blocks, inodes;
};

/* A mount that calls share. Links are resolved, as in mountinfo. */
struct shared {
  char *path;
  dev_t device;
  ino_t inode;
};

static struct shared shared[SHARED_MOST];
static struct process process_before;
static int proc_fds[PROC];
static struct mount mounts[MOUNTS];
static int mount_count;
static uint64_t key[2];

/* Opens what the comparison needs. Call it before there are other descriptors that come and go. */
void open_proc_files(void) {
  for (int i = 0; i < PROC; i++) proc_fds[i] = open(PROC_FILES[i], O_RDONLY | O_CLOEXEC);
}

static void look_at_process(struct process *now) {
  memset(now, 0, sizeof *now); /* the paddings too, as these are compared as bytes */
  for (int i = 0; i < RLIM_NLIMITS; i++) getrlimit((__rlimit_resource_t)i, &now->limits[i]);
  syscall(SYS_sched_getattr, 0, now->scheduling, sizeof now->scheduling, 0);
  syscall(SYS_sched_getaffinity, 0, sizeof now->affinity, now->affinity);
  now->niceness = getpriority(PRIO_PROCESS, 0);
  now->io_priority = syscall(SYS_ioprio_get, 1, 0); /* of this process */
  now->timer_slack = prctl(PR_GET_TIMERSLACK);
  for (int i = 0; i < PROC; i++)
    if (proc_fds[i] < 0 || pread(proc_fds[i], now->proc[i], sizeof now->proc[i], 0) < 0) now->proc[i][0] = '\0';
}

/* Returns whether our process is as it was, so that the next function's will be. */
bool process_is_kept(void) {
  struct process now;
  look_at_process(&now);
  return memcmp(&now, &process_before, sizeof now) == 0;
}

/* Adds bytes to a sum. Without the key nobody can choose names that leave it the same. */
static uint64_t add(uint64_t sum, const void *bytes, size_t length) {
  for (const uint8_t *at = bytes; length > 0;) {
    uint64_t word = 0;
    const size_t taken = length < sizeof word ? length : sizeof word;
    memcpy(&word, at, taken);
    sum = (sum ^ word ^ (uint64_t)taken << 60) * (key[0] | 1);
    sum ^= sum >> 29;
    at += taken;
    length -= taken;
  }
  return sum;
}

/* Returns the sum of a file without its contents. The time of the last change tells all that is done to a regular file or
 * a link; for others it tells of their use. A directory's tells of files that have come and gone. */
static uint64_t sum_of(const struct stat *found, ssize_t attributes) {
  uint64_t facts[] = {found->st_ino, found->st_mode, found->st_uid, found->st_gid, found->st_rdev, 0, 0, 0, (uint64_t)attributes};
  if (S_ISREG(found->st_mode) || S_ISLNK(found->st_mode)) {
    facts[5] = (uint64_t)found->st_size;
    facts[6] = (uint64_t)found->st_ctim.tv_sec;
    facts[7] = (uint64_t)found->st_ctim.tv_nsec;
  }
  return add(key[1], facts, sizeof facts);
}

static bool add_directory(int directory, dev_t device, int depth, int *entries, uint64_t *sum);

/* Returns whether an entry is a mount that calls share: it can be of the same filesystem as the volume that it lies in. */
static bool is_shared_root(const struct stat *found) {
  for (const struct shared *mount = shared; mount < shared + given.shared_count; mount++)
    if (found->st_dev == mount->device && found->st_ino == mount->inode) return true;
  return false;
}

/* Returns whether what calls share takes space of a filesystem. */
static bool is_used_by_shared(dev_t device) {
  for (const struct shared *mount = shared; mount < shared + given.shared_count; mount++)
    if (mount->device == device) return true;
  return false;
}

/* Adds an entry and, if it is a directory of the same filesystem, what it holds. Another one is a mount of its own. */
static bool add_entry(int parent, const char *name, dev_t device, int depth, int *entries, uint64_t *sum) {
  struct stat found;
  uint64_t own = add(key[1] + (uint64_t)depth, name, strlen(name));
  if (--*entries < 0 || fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0) return false;
  if (found.st_dev == device && !is_shared_root(&found)) {
    int fd = S_ISDIR(found.st_mode) ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    own ^= sum_of(&found, fd < 0 ? 0 : flistxattr(fd, NULL, 0));
    /* What we can neither read nor write is the image's, and the function's as little. */
    if (S_ISDIR(found.st_mode) && fd < 0 && faccessat(parent, name, W_OK, 0) == 0) return false;
    uint64_t inside = own;
    if (fd >= 0 && !add_directory(fd, device, depth + 1, entries, &inside)) return false;
    own = inside;
  }
  *sum += add(key[1], &own, sizeof own); /* in whatever order the directory lists them */
  return true;
}

/* Adds what a directory holds and closes it. */
static bool add_directory(int directory, dev_t device, int depth, int *entries, uint64_t *sum) {
  DIR *stream = depth < MOUNT_DEPTH ? fdopendir(directory) : NULL;
  if (stream == NULL) {
    close(directory);
    return false;
  }
  bool fine = true;
  for (struct dirent *entry; fine && (entry = readdir(stream)) != NULL;)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      fine = add_entry(dirfd(stream), entry->d_name, device, depth, entries, sum);
  closedir(stream);
  return fine;
}

/* Sums up a mount's root; false if it has been replaced. */
static bool sum_root(const struct mount *mount, struct stat *found, uint64_t *sum) {
  if (fstat(mount->fd, found) < 0 || found->st_nlink == 0) return false;
  if (mount->kind == CLEARED_WHOLE) found->st_ino = 0; /* an overlay may number it anew when it is first written to */
  *sum = sum_of(found, S_ISDIR(found->st_mode) ? flistxattr(mount->fd, NULL, 0) : 0);
  return true;
}

/* Sums up a mount as its kind demands. */
static bool sum_up(const struct mount *mount, uint64_t *sum) {
  struct stat found;
  int entries = MOUNT_ENTRIES;
  if (!sum_root(mount, &found, sum)) return false;
  if (mount->kind != FULL || !S_ISDIR(found.st_mode)) return true;
  int directory = open(mount->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return access(mount->path, W_OK) < 0;
  return add_directory(directory, found.st_dev, 0, &entries, sum);
}

/* Notes the entries of a FULL mount whose directories are its root alone, such as /dev: as long as the list of names has
 * not changed since long before the first call, it is enough to look at each. Anything else is summed up whole. */
static void note_entries(struct mount *mount) {
  static struct entry noted[QUICK_ENTRIES];
  struct timespec now;
  struct stat root, found;
  DIR *stream = fdopendir(open(mount->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (stream == NULL || fstat(mount->fd, &root) < 0) return;
  int count = 0;
  bool plain = true;
  for (struct dirent *entry; plain && (entry = readdir(stream)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    plain = fstatat(dirfd(stream), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0;
    if (plain && found.st_dev != root.st_dev) continue;
    plain = plain && count < QUICK_ENTRIES && !S_ISDIR(found.st_mode);
    if (plain) noted[count++] = (struct entry){strdup(entry->d_name), sum_of(&found, 0)};
  }
  closedir(stream);
  clock_gettime(CLOCK_REALTIME, &now);
  /* A change within the tick of the last one would show no other time. */
  const bool old = now.tv_sec - root.st_ctim.tv_sec > 1 || (now.tv_sec - root.st_ctim.tv_sec) * 1000 + (now.tv_nsec - root.st_ctim.tv_nsec) / 1000000 > 20;
  mount->entries = plain && old ? malloc(sizeof *noted * (size_t)(count + 1)) : NULL;
  if (mount->entries == NULL) return;
  memcpy(mount->entries, noted, sizeof *noted * (size_t)count);
  mount->entry_count = count;
  mount->listed = root.st_ctim;
}

/* Returns whether a look at each noted entry shows that a FULL mount is as it was. */
static bool is_quickly_kept(const struct mount *mount) {
  struct stat found;
  if (mount->entries == NULL || fstat(mount->fd, &found) < 0) return false;
  if (found.st_ctim.tv_sec != mount->listed.tv_sec || found.st_ctim.tv_nsec != mount->listed.tv_nsec) return false;
  for (const struct entry *entry = mount->entries; entry < mount->entries + mount->entry_count; entry++) {
    if (fstatat(mount->fd, entry->name, &found, AT_SYMLINK_NOFOLLOW) < 0 || sum_of(&found, 0) != entry->sum) return false;
  }
  return true;
}

static void count_free(struct mount *mount) {
  struct statfs found;
  mount->counted = fstatfs(mount->fd, &found) == 0 && found.f_type == TMPFS_MAGIC;
  mount->blocks = mount->counted ? found.f_bfree : 0;
  mount->inodes = mount->counted ? found.f_ffree : 0;
}

static bool remember_mount(const char *path, bool cleared) {
  struct stat found;
  if (lstat(path, &found) < 0 || !(S_ISDIR(found.st_mode) || S_ISREG(found.st_mode))) return true; /* hidden by another */
  if (mount_count == MOUNTS) return false;
  struct mount *mount = &mounts[mount_count++];
  mount->path = strdup(path);
  mount->fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  /* Attributes are not to be had through O_PATH; but what we may not read, a function may not either. */
  int readable = S_ISDIR(found.st_mode) ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  if (readable >= 0) close_fd(&mount->fd);
  if (readable >= 0) mount->fd = readable;
  mount->kind = cleared ? CLEARED_WHOLE : S_ISDIR(found.st_mode) && holds_only(path, "") ? EMPTY : FULL;
  count_free(mount);
  if (is_used_by_shared(found.st_dev)) mount->counted = false;
  if (mount->path == NULL || mount->fd < 0 || !sum_up(mount, &mount->sum)) return false;
  if (mount->kind == FULL && S_ISDIR(found.st_mode)) note_entries(mount);
  return true;
}

static bool is_among(const char *word, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(word, words[i]) == 0) return true;
  return false;
}

static bool is_within(const char *path, const char *directory) {
  const size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Finds the mounts that calls share. Returns false if one lies in a directory that is cleared, as a link of the image can
 * have it: the container must not serve another call then, lest the volume be emptied. */
static bool find_shared(const char *context) {
  if (given.shared_count > SHARED_MOST) return false;
  for (int i = 0; i < given.shared_count; i++) {
    struct stat found;
    char *path = realpath(given.shared[i], NULL);
    /* Where we may not look, a function may not either. */
    if (path == NULL || lstat(path, &found) < 0) return false;
    shared[i] = (struct shared){path, found.st_dev, found.st_ino};
    if (is_within(path, context) || is_within(path, SECRETS)) return false;
    for (size_t at = 0; at < sizeof CLEARED / sizeof *CLEARED; at++)
      if (is_within(path, CLEARED[at])) return false;
  }
  return true;
}

static bool is_shared(const char *path) {
  for (int i = 0; i < given.shared_count; i++)
    if (strcmp(path, shared[i].path) == 0) return true;
  return false;
}

/* Undoes what the kernel does to spaces, tabs, newlines and backslashes in a path. */
static void unescape(char *path) {
  char *to = path;
  for (const char *at = path; *at != '\0'; to++) {
    const bool escaped = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[3] >= '0';
    *to = escaped ? (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0')) : *at;
    at += escaped ? 4 : 1;
  }
  *to = '\0';
}

static bool is_read_only(const char *options) {
  return strncmp(options, "ro", 2) == 0 && (options[2] == ',' || options[2] == '\0');
}

/* Remembers the mount that a line of mountinfo describes, if a function may write to files there:
 * "36 35 98:0 /root /path rw,noatime shared:1 - ext4 /dev/root rw,errors=continue" */
static bool take_mount(char *line, const char *context) {
  enum { PATH = 4, OPTIONS = 5, BEFORE = 6, TYPE = 0, SUPER = 2, AFTER = 3 };
  char *before[BEFORE] = {NULL}, *after[AFTER] = {NULL}, *field;
  int fields = 0;
  for (char *rest = line; fields < BEFORE && (field = strsep(&rest, " ")) != NULL; line = rest) before[fields++] = field;
  char *rest = fields < BEFORE || line == NULL ? NULL : *line == '-' ? line + 2 : strstr(line, " - ");
  if (rest != NULL && *rest == ' ') rest += 3;
  for (fields = 0; fields < AFTER && (field = strsep(&rest, " \n")) != NULL;) after[fields++] = field;
  if (fields < AFTER) return false;
  char *path = before[PATH];
  unescape(path);
  if (strcmp(path, "/") == 0 || is_read_only(before[OPTIONS]) || is_read_only(after[SUPER])) return true;
  if (is_among(after[TYPE], NOT_FILES, sizeof NOT_FILES / sizeof *NOT_FILES)) return true;
  if (is_shared(path)) return true;
  if (strcmp(path, context) == 0 || is_among(path, CLEARED, sizeof CLEARED / sizeof *CLEARED)) return true;
  return remember_mount(path, false);
}

/* Remembers how everything is. Call it before the first run, and before there is a context. Returns false if a mount
 * could not be compared. Tests run the gate as a plain process, on a machine whose mounts are not ours to look at. */
bool remember(const char *context) {
  look_at_process(&process_before);
  if (!given.is_init) return true;
  if (getrandom(key, sizeof key, 0) != sizeof key) return false;
  if (!find_shared(context)) return false;
  FILE *list = fopen("/proc/self/mountinfo", "re");
  char *line = NULL;
  size_t room = 0;
  bool fine = list != NULL && remember_mount(context, true);
  for (size_t i = 0; fine && i < sizeof CLEARED / sizeof *CLEARED; i++) fine = remember_mount(CLEARED[i], true);
  while (fine && getline(&line, &room, list) > 0) fine = take_mount(line, context);
  free(line);
  if (list != NULL) fclose(list);
  return fine;
}

/* Returns whether every mount is as it was. The context's is, once it is removed and closed. */
bool mounts_are_kept(void) {
  for (const struct mount *mount = mounts; mount < mounts + mount_count; mount++) {
    struct mount now = *mount;
    if (is_quickly_kept(mount)) continue;
    if (mount->kind == EMPTY && !holds_only(mount->path, "")) return false;
    if (!sum_up(mount, &now.sum) || now.sum != mount->sum) return false;
    if (mount->counted) count_free(&now);
    if (mount->counted && (now.blocks < mount->blocks || now.inodes < mount->inodes)) return false;
  }
  return true;
}

/* Empties the mounts that were empty. Returns false if something would stay. */
bool clear_mounts(void) {
  for (const struct mount *mount = mounts; mount < mounts + mount_count; mount++)
    if (mount->kind == EMPTY && !holds_only(mount->path, "") && !clear_directory(mount->path)) return false;
  return true;
}

/*
 * The mounts that a cell gets, by the mounts of the container: decided once, before the first cell.
 *
 * Every line of mountinfo is decided on. What cannot be decided is an error: a mount that a cell lacks would be noticed, and
 * one that two cells share would carry something over.
 *
 * Owns the reason why there is no plan.
 */
#include "cell.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { STEPS = 256, MOUNTS = 200 };

/* A line of mountinfo. */
struct mounted {
  char *root, *path, *type, *data;
  unsigned long flags;
  int order;
};

static struct step steps[STEPS];
static char refusal[PATH_MAX + 128];

/* Returns why make_plan() has failed. */
const char *plan_refusal(void) { return refusal; }

static bool refuse(const char *what, const char *path) {
  snprintf(refusal, sizeof refusal, "%s %s", what, path);
  return false;
}

static bool is_within(const char *path, const char *directory) {
  const size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
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

/* Reads "rw,nosuid,relatime". */
static unsigned long flags_of(char *options) {
  static const struct {
    const char *name;
    unsigned long flag;
  } KNOWN[] = {{"ro", MS_RDONLY},         {"nosuid", MS_NOSUID},         {"nodev", MS_NODEV},
               {"noexec", MS_NOEXEC},     {"noatime", MS_NOATIME},       {"nodiratime", MS_NODIRATIME},
               {"relatime", MS_RELATIME}, {"nosymfollow", 256 /* MS_NOSYMFOLLOW */}};
  unsigned long flags = 0;
  for (char *option, *rest = options; (option = strsep(&rest, ",")) != NULL;)
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
      if (strcmp(option, KNOWN[i].name) == 0) flags |= KNOWN[i].flag;
  return (flags & (MS_NOATIME | MS_RELATIME)) == 0 ? flags | MS_STRICTATIME : flags; /* else the kernel takes relatime */
}

/* Reads a line: "36 35 98:0 /root /path rw,noatime shared:1 - ext4 /dev/root rw,errors=continue". */
static bool read_line(char *line, struct mounted *mount) {
  enum { ROOT = 3, PATH = 4, OPTIONS = 5, BEFORE = 6, TYPE = 0, DATA = 2, AFTER = 3 };
  char *before[BEFORE], *after[AFTER], *field, *rest = line;
  int fields = 0;
  for (; fields < BEFORE && (field = strsep(&rest, " ")) != NULL;) before[fields++] = field;
  if (fields < BEFORE || rest == NULL) return false;
  rest = strncmp(rest, "- ", 2) == 0 ? rest + 2 : strstr(rest, " - ");
  if (rest != NULL && *rest == ' ') rest += 3;
  for (fields = 0; fields < AFTER && (field = strsep(&rest, " \n")) != NULL;) after[fields++] = field;
  if (fields < AFTER) return false;
  unescape(before[ROOT]);
  unescape(before[PATH]);
  mount->root = strdup(before[ROOT]);
  mount->path = strdup(before[PATH]);
  mount->type = strdup(after[TYPE]);
  mount->data = strdup(after[DATA]);
  mount->flags = flags_of(before[OPTIONS]);
  return true;
}

/* Parents before what is mounted below them. */
static int by_depth(const void *one, const void *other) {
  const struct mounted *a = one, *b = other;
  const size_t lengths[] = {strlen(a->path), strlen(b->path)};
  if (lengths[0] != lengths[1]) return lengths[0] < lengths[1] ? -1 : 1;
  return a->order - b->order;
}

/* Reads mountinfo. Returns the number of mounts, or -1. */
static int read_mounts(struct mounted mounts[MOUNTS]) {
  FILE *list = fopen("/proc/self/mountinfo", "re");
  char *line = NULL;
  size_t room = 0;
  int count = 0;
  if (list == NULL) return -1;
  while (count >= 0 && getline(&line, &room, list) > 0) {
    const bool fine = count < MOUNTS && read_line(line, &mounts[count]);
    if (fine) mounts[count].order = count;
    count = fine ? count + 1 : -1;
  }
  free(line);
  fclose(list);
  if (count > 0) qsort(mounts, (size_t)count, sizeof *mounts, by_depth);
  return count;
}

static struct step *add(struct plan *plan, int kind, const char *path) {
  if (plan->count == STEPS) return NULL;
  struct step *step = &steps[plan->count++];
  *step = (struct step){.kind = kind, .path = strdup(path)};
  return step;
}

/* Returns the size in a tmpfs' options, in bytes; 0 if it has none. */
static uint64_t size_in(const char *data) {
  const char *at = strstr(data, "size=");
  char *rest;
  if (at == NULL) return 0;
  uint64_t size = strtoull(at + 5, &rest, 10);
  switch (*rest) {
    case 'g': size <<= 10; /* fall through */
    case 'm': size <<= 10; /* fall through */
    case 'k': return size << 10;
    default: return size;
  }
}

/* Returns how many files a tmpfs may have. An empty one takes some 2 KiB of the container's memory, with the overlay. */
static uint64_t files_in(uint64_t size) { return size / 8192 > 256 ? size / 8192 : 256; }

/* Returns a tmpfs' options, with a bound for its files. */
static char *tmpfs_data(const char *data) {
  char *made;
  if (strstr(data, "nr_inodes=") != NULL) return strdup(data);
  return asprintf(&made, "%s,nr_inodes=%llu", data, (unsigned long long)files_in(size_in(data))) < 0 ? NULL : made;
}

/* Returns the options without "rw" or "ro" at their front, which only mount flags can say. */
static const char *without_access(const char *data) {
  if (strncmp(data, "rw", 2) != 0 && strncmp(data, "ro", 2) != 0) return data;
  return data[2] == ',' ? data + 3 : data + 2;
}

/* Mounts a filesystem of the cell's own where the container has one of the same type. */
static bool add_fresh(struct plan *plan, const struct mounted *mount) {
  struct step *step = add(plan, FRESH, mount->path);
  if (step == NULL) return refuse("more mounts than a cell may have, at", mount->path);
  const char *data = without_access(mount->data);
  const bool is_tmpfs = strcmp(mount->type, "tmpfs") == 0;
  step->type = mount->type;
  step->source = strcmp(mount->path, "/dev/shm") == 0 ? "shm" : mount->type;
  step->flags = mount->flags;
  step->data = is_tmpfs ? tmpfs_data(data) : strdup(data);
  return step->data != NULL;
}

static bool add_from(struct plan *plan, int kind, const struct mounted *mount, unsigned long flags) {
  struct step *step = add(plan, kind, mount->path);
  if (step == NULL) return refuse("more mounts than a cell may have, at", mount->path);
  step->source = mount->path;
  step->flags = flags;
  return true;
}

/* Decides on a mount below /proc: a part of proc that is read-only, or a cover over one that is not to be seen. */
static bool plan_proc(struct plan *plan, const struct mounted *mount) {
  if (strcmp(mount->path, "/proc") == 0) return add_fresh(plan, mount);
  if (strcmp(mount->type, "proc") != 0) return add_from(plan, BIND, mount, 0);
  if (strncmp(mount->path, "/proc", 5) != 0 || strcmp(mount->path + 5, mount->root) != 0)
    return refuse("proc is mounted from elsewhere at", mount->path);
  return add_from(plan, COVER, mount, mount->flags);
}

/* Decides on a mount of /sys, which comes along as a tree. What the function could write to is made read-only. */
static bool plan_sys(struct plan *plan, const struct mounted *mount) {
  if (strcmp(mount->path, "/sys") == 0 && !add_from(plan, TREE, mount, 0)) return false;
  return (mount->flags & MS_RDONLY) != 0 || add_from(plan, LOCK, mount, mount->flags | MS_RDONLY);
}

/* Adds what the container's engine has put into /dev. */
static bool plan_devices(struct plan *plan) {
  DIR *stream = opendir("/dev");
  bool fine = stream != NULL;
  for (struct dirent *entry; fine && (entry = readdir(stream)) != NULL;) {
    char path[sizeof "/dev/" + NAME_MAX], target[PATH_MAX];
    struct stat found;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    fine = lstat(path, &found) == 0;
    const int kind = S_ISDIR(found.st_mode) ? FOLDER : S_ISLNK(found.st_mode) ? LINK : NODE;
    fine = fine && (kind != NODE || S_ISCHR(found.st_mode) || S_ISBLK(found.st_mode));
    struct step *step = fine ? add(plan, kind, path) : NULL;
    fine = step != NULL;
    if (!fine) break;
    step->mode = found.st_mode;
    step->device = found.st_rdev;
    if (kind != LINK) continue;
    const ssize_t length = readlink(path, target, sizeof target - 1);
    fine = length > 0;
    step->source = fine ? strndup(target, (size_t)length) : NULL;
  }
  if (stream != NULL) closedir(stream);
  return fine || refuse("something that is neither a device, a link nor a directory is in", "/dev");
}

/* Decides on a mount of /dev. Its tmpfs need not be as large as the container's: nothing but devices is meant to be there. */
static bool plan_dev(struct plan *plan, const struct mounted *mount) {
  static const char *const OWN[] = {"/dev/pts", "/dev/shm", "/dev/mqueue"};
  static const char *const TYPES[] = {"devpts", "tmpfs", "mqueue"};
  if (strcmp(mount->path, "/dev") == 0) {
    if (strcmp(mount->type, "tmpfs") != 0 || !add_fresh(plan, mount)) return refuse("no tmpfs is at", "/dev");
    const uint64_t most = cell_setting.scratch / 4, size = size_in(mount->data);
    struct step *step = &steps[plan->count - 1];
    const unsigned long long bytes = size > 0 && size < most ? size : most, files = files_in(bytes);
    if (asprintf(&step->data, "size=%llu,nr_inodes=%llu,mode=755", bytes, files) < 0) return false;
    return plan_devices(plan);
  }
  for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++)
    if (strcmp(mount->path, OWN[i]) == 0 && strcmp(mount->type, TYPES[i]) == 0) return add_fresh(plan, mount);
  return refuse("a cell cannot have the container's mount at", mount->path);
}

static bool is_added(const struct plan *plan, const char *path) {
  for (int i = 0; i < plan->count; i++)
    if ((steps[i].kind == FOLDER || steps[i].kind == NODE) && strcmp(steps[i].path, path) == 0) return true;
  return false;
}

static bool is_shared(const char *path) {
  for (int i = 0; i < given.shared_count; i++) {
    char real[PATH_MAX];
    if (realpath(given.shared[i], real) != NULL && strcmp(path, real) == 0) return true;
  }
  return false;
}

static bool is_left_out(const char *path) {
  for (int i = 0; i < cell_setting.without_count; i++) {
    char real[PATH_MAX];
    if (realpath(cell_setting.without[i], real) != NULL && strcmp(path, real) == 0) return true;
  }
  return false;
}

/* Makes the place of a mount that lies in a tmpfs of the cell's own, where the container's is not to be seen. */
static bool add_place(struct plan *plan, const struct mounted *tmpfs, const struct mounted *mount) {
  char path[PATH_MAX];
  struct stat found;
  for (const char *end = mount->path + strlen(tmpfs->path); *end != '\0';) {
    end = strchrnul(end + 1, '/');
    snprintf(path, sizeof path, "%.*s", (int)(end - mount->path), mount->path);
    if (lstat(path, &found) < 0) return refuse("there is no place for the container's mount at", mount->path);
    struct step *step = is_added(plan, path) ? NULL : add(plan, S_ISDIR(found.st_mode) ? FOLDER : NODE, path);
    if (step != NULL) step->mode = S_ISDIR(found.st_mode) ? found.st_mode : S_IFREG | 0644;
  }
  return true;
}

/* Makes the places of the mounts below a tmpfs that the cell has of its own. */
static bool add_places(struct plan *plan, const struct mounted *tmpfs, const struct mounted *mounts, int count) {
  for (const struct mounted *mount = mounts; mount < mounts + count; mount++) {
    const bool below = strcmp(mount->path, tmpfs->path) != 0 && is_within(mount->path, tmpfs->path);
    if (below && !is_left_out(mount->path) && !add_place(plan, tmpfs, mount)) return false;
  }
  return true;
}

static bool plan_mount(struct plan *plan, const struct mounted *mount) {
  struct stat found;
  if (is_within(mount->path, "/proc")) return plan_proc(plan, mount);
  if (is_within(mount->path, "/sys")) return plan_sys(plan, mount);
  if (is_within(mount->path, "/dev")) return plan_dev(plan, mount);
  if (is_left_out(mount->path)) return true;
  if (is_shared(mount->path)) return add_from(plan, SHARE, mount, 0);
  if (strcmp(mount->type, "tmpfs") == 0 && strcmp(mount->root, "/") == 0) return add_fresh(plan, mount);
  /* A mount that nobody can write to carries nothing over. */
  if ((mount->flags & MS_RDONLY) != 0) return add_from(plan, BIND, mount, 0);
  if (stat(mount->path, &found) == 0 && S_ISREG(found.st_mode) && found.st_size <= 1 << 20) return add_from(plan, COPY, mount, 0);
  return refuse("a cell cannot have the container's mount at", mount->path);
}

/* Decides on all mounts. If it returns false, plan_refusal() says why. */
bool make_plan(struct plan *plan) {
  static struct mounted mounts[MOUNTS];
  struct stat root;
  const int count = read_mounts(mounts);
  if (count < 0 || stat("/", &root) < 0) return refuse("cannot be read:", "/proc/self/mountinfo");
  *plan = (struct plan){
      .steps = steps, .root_mode = root.st_mode & 07777, .root_uid = root.st_uid, .root_gid = root.st_gid};
  if (getcwd(plan->directory, sizeof plan->directory) == NULL || plan->directory[0] != '/')
    return refuse("cannot be found:", "the working directory");
  for (const struct mounted *mount = mounts; mount < mounts + count; mount++) {
    /* Of two at the same place the later one hides the other. */
    if (mount + 1 < mounts + count && strcmp(mount->path, mount[1].path) == 0) continue;
    if (strcmp(mount->path, "/") == 0) plan->read_only = (mount->flags & MS_RDONLY) != 0;
    else if (!plan_mount(plan, mount)) return false;
    const struct step *last = plan->count > 0 ? &steps[plan->count - 1] : NULL;
    const bool fresh = last != NULL && last->kind == FRESH && strcmp(last->path, mount->path) == 0;
    if (fresh && strcmp(last->type, "tmpfs") == 0 && !add_places(plan, mount, mounts, count)) return false;
  }
  return true;
}

/*
 * The server's settings of the cells, on the gate's command line.
 *
 *     --cell=BYTES --context=PATH --user=UID:GID[:GROUP...] --drop=HEX [--without=PATH...] [--network=shared]
 *
 * main.c hands each option over that it does not know.
 *
 * Owns the setting, which is written once, before anything else runs.
 */
#include "cell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 512, WITHOUT = 256 };
/* The highest id that engines take. */
#define ID_MAX 0x7FFFFFFFULL
#define SCRATCH_MAX (1ULL << 50)

static const char DECIMAL[] = "0123456789", HEXADECIMAL[] = "0123456789abcdef";

struct cell_setting cell_setting;

/* Returns what follows `name` in the word, or NULL if it is another option. */
static const char *value_of(const char *word, const char *name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 ? word + length : NULL;
}

/* Reads a number of `digits` alone, up to `most`, with `end` or nothing behind it; moves `word` there. */
static bool take_number(const char **word, const char *digits, unsigned long long most, const char *end,
                        unsigned long long *number) {
  const size_t length = strspn(*word, digits); /* strtoull() would take spaces, signs and prefixes as well */
  errno = 0;
  *number = strtoull(*word, NULL, (int)strlen(digits));
  *word += length;
  return length > 0 && errno == 0 && *number <= most && (**word == '\0' || strchr(end, **word) != NULL);
}

/* Takes "UID:GID[:GROUP...]". */
static bool take_user(const char *value) {
  static gid_t groups[GROUPS];
  unsigned long long ids[2 + GROUPS];
  int count = 0;
  for (;; value++) {
    if (count == 2 + GROUPS || !take_number(&value, DECIMAL, ID_MAX, ":", &ids[count++])) return false;
    if (*value == '\0') break;
  }
  if (count < 2) return false;
  cell_setting.uid = (uid_t)ids[0];
  cell_setting.gid = (gid_t)ids[1];
  cell_setting.group_count = count - 2;
  for (int i = 2; i < count; i++) groups[i - 2] = (gid_t)ids[i];
  cell_setting.groups = groups;
  return true;
}

/* Takes an option of the cells. Returns false if it is none, or makes no sense: then it is taken for the command, which does
 * not exist. */
bool take_cell_option(char *word) {
  static char *without[WITHOUT];
  unsigned long long number;
  const char *value;
  cell_setting.without = without;
  if ((value = value_of(word, "--cell=")) != NULL) {
    if (!take_number(&value, DECIMAL, SCRATCH_MAX, "", &number)) return false;
    cell_setting.scratch = number;
    return cell_setting.wanted = true;
  }
  if ((value = value_of(word, "--user=")) != NULL) return take_user(value);
  if ((value = value_of(word, "--drop=")) != NULL) {
    if (!take_number(&value, HEXADECIMAL, UINT64_MAX, "", &number)) return false;
    cell_setting.dropped = number;
    return true;
  }
  if (strcmp(word, "--network=shared") == 0) return cell_setting.shares_network = true;
  if ((value = value_of(word, "--context=")) != NULL) {
    cell_setting.context = value;
    return value[0] == '/';
  }
  if ((value = value_of(word, "--without=")) != NULL && cell_setting.without_count < WITHOUT) {
    without[cell_setting.without_count++] = word + (value - word);
    return true;
  }
  return false;
}

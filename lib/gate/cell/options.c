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

#include <stdlib.h>
#include <string.h>

enum { GROUPS = 512, WITHOUT = 256 };

struct cell_setting cell_setting;

/* Returns what follows `name` in the word, or NULL if it is another option. */
static const char *value_of(const char *word, const char *name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 ? word + length : NULL;
}

/* Takes "UID:GID[:GROUP...]". */
static bool take_user(const char *value) {
  static gid_t groups[GROUPS];
  char *rest;
  cell_setting.uid = (uid_t)strtoul(value, &rest, 10);
  if (*rest != ':') return false;
  cell_setting.gid = (gid_t)strtoul(rest + 1, &rest, 10);
  while (*rest == ':' && cell_setting.group_count < GROUPS) groups[cell_setting.group_count++] = (gid_t)strtoul(rest + 1, &rest, 10);
  cell_setting.groups = groups;
  return *rest == '\0';
}

/* Takes an option of the cells. Returns false if it is none. */
bool take_cell_option(char *word) {
  static char *without[WITHOUT];
  const char *value;
  cell_setting.without = without;
  if ((value = value_of(word, "--cell=")) != NULL) {
    cell_setting.wanted = true;
    cell_setting.scratch = strtoull(value, NULL, 10);
    return true;
  }
  if ((value = value_of(word, "--user=")) != NULL) return take_user(value);
  if ((value = value_of(word, "--drop=")) != NULL) {
    cell_setting.dropped = strtoull(value, NULL, 16);
    return true;
  }
  if (strcmp(word, "--network=shared") == 0) return cell_setting.shares_network = true;
  if ((value = value_of(word, "--context=")) != NULL) {
    cell_setting.context = value;
    return true;
  }
  if ((value = value_of(word, "--without=")) != NULL && cell_setting.without_count < WITHOUT) {
    without[cell_setting.without_count++] = word + (value - word);
    return true;
  }
  return false;
}

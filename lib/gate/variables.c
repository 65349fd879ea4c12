/*
 * Environment variables that a request brings in ENV and ENV_DEFAULT frames.
 *
 * The function's process is forked before the request comes, so they reach it through memory that both processes share:
 * the gate adds to it (request.c), the child sets them and wipes the memory (exec.c), and the gate wipes it again when
 * the call ends (function.c), in case the child was killed before.
 *
 * Owns the shared memory.
 */
#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* "NAME=value" of each variable, each with its NUL, and with "=" in front if it is a default. Pages that no call needs cost nothing, and the kernel accepts
 * little more than this much in an environment anyway. */
static struct {
  size_t used;
  char bytes[1 << 20];
} *variables;

/* Maps the memory. Call it before the first fork. */
bool map_variables(void) {
  variables = mmap(NULL, sizeof *variables, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return variables != MAP_FAILED;
}

/* Takes ENV, or ENV_DEFAULT. Returns false if the payload is not a name and a value. */
bool take_variable(const uint8_t *payload, uint32_t length, bool is_default) {
  const uint32_t name_length = length < 2 ? 0 : get16(payload);
  if (name_length == 0 || length < 2 + name_length) return false;
  const uint8_t *name = payload + 2, *value = name + name_length;
  const size_t value_length = length - 2 - name_length;
  if (memchr(name, '=', name_length) != NULL || memchr(name, '\0', length - 2) != NULL) return false;
  if (sizeof variables->bytes - variables->used < name_length + value_length + 2 + is_default) {
    fail(FAILED_EXEC, E2BIG); /* as the kernel would say */
    return true;
  }
  char *at = variables->bytes + variables->used;
  if (is_default) *at++ = '=';
  memcpy(at, name, name_length);
  at[name_length] = '=';
  memcpy(at + name_length + 1, value, value_length);
  at[name_length + 1 + value_length] = '\0';
  variables->used += name_length + value_length + 2 + is_default;
  return true;
}

/* Sets the variables in this process, and wipes the shared memory unless another process is to have them too; a default only if nothing else has set its name. An
 * environment may hold a name twice, and putenv replaces only the first, so each name is unset first. The copy that putenv
 * keeps is gone after the exec. */
bool set_variables(bool wipe) {
  if (variables->used == 0) return true;
  char *at = malloc(variables->used + 1);
  if (at == NULL) return false;
  memcpy(at, variables->bytes, variables->used);
  const char *end = at + variables->used;
  if (wipe) wipe_variables();
  for (; at < end; at += strlen(at) + 1) {
    const bool is_default = *at == '=';
    at += is_default;
    char *equals = strchr(at, '=');
    *equals = '\0';
    const bool is_set = is_default && getenv(at) != NULL;
    if (!is_set) unsetenv(at);
    *equals = '=';
    if (!is_set && putenv(at) != 0) return false;
  }
  return true;
}

void wipe_variables(void) {
  explicit_bzero(variables->bytes, variables->used);
  variables->used = 0;
}

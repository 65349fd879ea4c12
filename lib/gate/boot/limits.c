/*
 * The time limits of calls. A server that runs ends its calls by itself; one that is stopped does not, and somebody else may make
 * them again by then: so no instance is at a call for longer than the server has said in advance.
 *
 * Owns the limits, by the numbers of their streams. An app that asks for its calls has one at a time, and its number is 0.
 */
#include "boot.h"

#define NEVER UINT64_MAX

static struct limit {
  uint32_t number;
  uint64_t at_us;
} limits[STREAMS_MOST];
static int count;
static uint64_t soonest_us = NEVER;

static void find_soonest(void) {
  soonest_us = NEVER;
  for (const struct limit *limit = limits; limit < limits + count; limit++)
    if (limit->at_us < soonest_us) soonest_us = limit->at_us;
}

/* Limits a call from now on; not at all with 0. */
void begin_limit(uint32_t number, uint32_t ms) {
  if (ms == 0) return;
  if (count == STREAMS_MOST) leave();
  limits[count++] = (struct limit){number, now_us() + ms * 1000ULL};
  find_soonest();
}

/* The call is over. */
void end_limit(uint32_t number) {
  for (struct limit *limit = limits; limit < limits + count; limit++) {
    if (limit->number != number) continue;
    *limit = limits[--count];
    return find_soonest();
  }
}

/* Returns whether a call has lasted for too long. */
bool limit_has_passed(void) { return soonest_us != NEVER && soonest_us <= now_us(); }

/* Returns the milliseconds until then, rounded up, or -1. */
int limit_ms(void) {
  if (soonest_us == NEVER) return -1;
  const uint64_t now = now_us();
  const uint64_t ms = soonest_us <= now ? 0 : (soonest_us - now + 999) / 1000;
  return ms < INT_MAX ? (int)ms : INT_MAX;
}

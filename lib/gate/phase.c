/*
 * The progress of the call, the alarm that bounds its current step, and the two ways to end it early.
 *
 *     WAITING    for REQUEST; no alarm
 *     RECEIVING  ENV, FILE and BODY frames (request.c); the alarm is the deadline
 *     RUNNING    the function (function.c); the alarm is the deadline, then the end of the grace period
 *     DRAINING   output that is still in the pipes after the function's exit (logs.c)
 *     ANSWERING  all that is left to do is to send what is buffered and the response files (answer.c)
 *     RESETTING  waiting for the function's processes to die before their files are removed (reset.c)
 *     LEAVING    the answer is sent; waiting a moment for the server to close stdin
 *
 * A call moves down this list and may skip steps: fail() goes to ANSWERING from wherever it is, and a function that
 * left nothing behind goes from ANSWERING to WAITING at once. Only RESETTING and ANSWERING lead back to WAITING.
 *
 * Every file calls this one. It owns the phase, the alarm, and whether another request may follow.
 */
#include "gate.h"

#include <time.h>
#include <unistd.h>

#define NEVER UINT64_MAX
#define BIT(phase) (1U << (phase))

static const unsigned allowed[] = {
    [WAITING] = BIT(RECEIVING) | BIT(ANSWERING),
    [RECEIVING] = BIT(RUNNING) | BIT(DRAINING) | BIT(ANSWERING),
    [RUNNING] = BIT(DRAINING) | BIT(ANSWERING),
    [DRAINING] = BIT(ANSWERING),
    [ANSWERING] = BIT(WAITING) | BIT(RESETTING) | BIT(LEAVING),
    [RESETTING] = BIT(WAITING),
    [LEAVING] = 0,
};

static enum phase current = WAITING;
static bool again;
static uint64_t alarm_at = NEVER;

enum phase phase(void) { return current; }

/* Moves on to `next`. A move that the table does not allow is a bug of ours: no answer after it could be trusted. */
void enter(enum phase next) {
  if ((allowed[current] & BIT(next)) == 0) leave();
  current = next;
}

bool may_serve_again(void) { return again; }

void allow_another(bool allow) { again = allow; }

uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void set_alarm(uint64_t in_us) { alarm_at = now_us() + in_us; }

void clear_alarm(void) { alarm_at = NEVER; }

bool alarm_is_due(void) { return alarm_at <= now_us(); }

/* Returns the milliseconds until the alarm, rounded up, as poll() takes them. */
int poll_timeout(void) {
  uint64_t now = now_us();
  if (alarm_at == NEVER) return -1;
  if (alarm_at <= now) return 0;
  uint64_t ms = (alarm_at - now + 999) / 1000;
  return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* Ends the call with FAILED in place of EXIT. */
void fail(uint8_t stage, int error) {
  uint8_t payload[5];
  kill_all();
  allow_another(false);
  put(put(payload, stage, 1), (uint32_t)error, 4);
  send_control(FAILED, payload, sizeof payload);
  enter(ANSWERING);
  set_alarm(PATIENCE_US);
}

/* Ends the call without an answer: nobody would read it, or none can be given. */
_Noreturn void leave(void) {
  kill_all();
  _exit(1);
}

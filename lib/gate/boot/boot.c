/*
 * The life of an instance that boots: BOOT, the wait until it listens, its calls, and its end.
 *
 *     BOOTING   the command runs, and not all of its ports listen; the alarm is the time it has for that
 *     SERVING   BOOTED was said: the server may open streams. The instance is frozen while none is open, if it is to be
 *     SETTLING  FINISH has come right behind a call, and the app may still print something about that
 *     ENDING    SIGTERM was sent, and the alarm is the time until SIGKILL
 *     PARTING   the command has ended, or was killed, and extensions have until the alarm for their own end
 *     KILLED    the alarm is our patience with processes that do not die
 *     LATE      the same of an app that did not listen in time
 *     OVERDUE   the same of an app that was at a call past its limit: the server may be stopped
 *
 * The command may end in any of them: conclude() in function.c ends the run, and conclude_boot() says so when all that the
 * app has sent is on its way. A FINISH that crosses this says nothing new.
 *
 * Owns what BOOT asks for, and how far the instance has come.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLAG_FREEZE = 1, FLAG_SERVE = 2, BOOT_SIZE = 14, FINISH_LONG = 10, OPEN_SIZE = 12, CALL_BEGINS = 9 };
/* The listeners that are looked at, and those that FAILED tells of. */
enum { LISTENERS_MOST = 1024, TOLD_MOST = 64, LISTENER_SIZE = 18 };
/* Probes come 1, 2, 4, 8 ms after the start, then every 10 ms. */
enum { PROBE_FIRST_US = 1000, PROBE_MOST_US = 10000 };
/* Streams may take this part of the container's memory; but some there must be. */
enum { MEMORY_PART = 16, STREAMS_LEAST = 4, STREAM_MEMORY = 64 << 10 };

static bool freezes;
static bool serves;  /* the app connects to us, not we to it */
static bool in_call; /* between CALL and CALL, of such an app */
static uint16_t ports[PORTS_MOST];
static int port_count;
static uint32_t log_limit;
static enum { BOOTING, SERVING, SETTLING, ENDING, PARTING, KILLED, LATE, OVERDUE } state;
static bool tail_due, was_idle = true;
static uint32_t kill_after_ms; /* from SIGTERM to SIGKILL */
static uint32_t part_after_ms; /* from SIGTERM to that of extensions that are awaited */
static uint64_t begun_us, probe_at_us, probe_step_us;
static struct listener found[LISTENERS_MOST];
static int found_count;

/* Returns the memory limit of the container in bytes, or UINT64_MAX if there is none. */
static uint64_t memory_limit(void) {
  char text[32];
  int fd = open("/sys/fs/cgroup/memory.max", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fd = open("/sys/fs/cgroup/memory/memory.limit_in_bytes", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  close_fd(&fd);
  if (n <= 0 || text[0] < '0' || text[0] > '9') return UINT64_MAX;
  text[n] = '\0';
  return strtoull(text, NULL, 10);
}

/* Returns how many streams may be open at once: what waits here for the app counts as the container's memory. */
static int streams_allowed(void) {
  const uint64_t fit = memory_limit() / MEMORY_PART / STREAM_MEMORY;
  if (fit < STREAMS_LEAST) return STREAMS_LEAST;
  return fit < STREAMS_MOST ? (int)fit : STREAMS_MOST;
}

/* Takes what BOOT asks for, but for the numbers that request.c takes. Returns false if the frame is not of its form. */
bool read_boot(const uint8_t *payload, uint32_t length) {
  if (length < BOOT_SIZE || payload[0] > (FLAG_FREEZE | FLAG_SERVE)) return false;
  freezes = (payload[0] & FLAG_FREEZE) != 0;
  log_limit = get32(payload + 5);
  port_count = payload[13];
  if (port_count < 1 || port_count > PORTS_MOST || length != BOOT_SIZE + 2U * (uint32_t)port_count) return false;
  for (int i = 0; i < port_count; i++) {
    ports[i] = (uint16_t)get16(payload + BOOT_SIZE + 2 * i);
    if (ports[i] == 0) return false;
  }
  in_call = serves = (payload[0] & FLAG_SERVE) != 0;
  return !serves || port_count == 1;
}

/* Returns whether the app connects, to ask for its calls. */
bool app_asks(void) { return serves; }

/* Begins to listen for an app that asks for its calls. Returns false if the call has failed. */
bool prepare_boot(void) {
  if (!serves || listen_for_app(ports[0])) return true;
  fail(FAILED_START, errno);
  return false;
}

static uint8_t *put_listener(uint8_t *at, const struct listener *listener) {
  memcpy(at, listener->address, sizeof listener->address);
  return put(at + sizeof listener->address, listener->port, 2);
}

static void send_booted(const struct listener *at_port) {
  uint8_t payload[8 + LISTENER_SIZE + 2], *at = put(payload, now_us() - begun_us, 8);
  const int most = streams_allowed();
  put(put_listener(at, at_port), (uint64_t)most, 2);
  send_control(BOOTED, payload, sizeof payload);
  limit_streams(most);
}

static void become_ready(const struct listener *at) {
  clear_alarm();
  state = SERVING;
  begin_watch();
  send_booted(at);
}

/* Begins to look for listeners: the command has just been started. One that asks for its calls listens nowhere. */
void begin_boot(void) {
  static const struct listener own = {.address = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
  begun_us = now_us();
  if (serves) {
    struct listener at = own;
    at.port = ports[0];
    return become_ready(&at);
  }
  probe_step_us = PROBE_FIRST_US;
  probe_at_us = begun_us + probe_step_us;
}

/* Finds out where a port listens. Where the kernel does not tell, it is tried. */
static bool find_listener(uint16_t port, struct listener *where) {
  if (found_count < 0) return answers(port, where);
  const struct listener *best = best_listener(found, found_count, port);
  if (best != NULL) *where = *best;
  return best != NULL;
}

/* Looks whether all ports listen now. */
static void probe(void) {
  struct listener first, other;
  probe_step_us = 2 * probe_step_us < PROBE_MOST_US ? 2 * probe_step_us : PROBE_MOST_US;
  found_count = list_listeners(found, LISTENERS_MOST);
  bool all = find_listener(ports[0], &first);
  for (int i = 1; all && i < port_count; i++) all = find_listener(ports[i], &other);
  probe_at_us = now_us() + probe_step_us;
  if (!all) return;
  close_listener_list();
  set_target(&first);
  become_ready(&first);
}

/* Returns whether no call is under way, as far as can be told: an app that asks for its calls keeps a connection. */
static bool is_idle(void) { return serves ? !in_call : stream_count() == 0; }

/* Returns whether the last call has ended, and output beyond the limit is to be sent before anything else is read. */
bool tail_is_due(void) { return tail_due && state == SERVING && is_idle(); }

/* Returns whether the instance is to be frozen as soon as it is calm. One that asks for its calls has told us itself. */
static bool wants_freeze(void) { return freezes && !is_frozen() && state == SERVING && is_idle(); }

/* Freezes an instance that has nothing to do. */
static void freeze(void) {
  if (!wants_freeze() || !has_settled() || !(serves || has_been_calm())) return;
  drop_spares();
  stop_processes();
}

/* Notices the end of the last call that was under way. */
static void notice_end(void) {
  const bool idle = is_idle();
  if (idle && !was_idle && !serves) begin_settling();
  was_idle = idle;
}

static void terminate(void) {
  state = ENDING;
  drop_spares();
  terminate_function();
  wake_all();
  set_alarm(kill_after_ms * 1000ULL);
}

/* Ends an instance that has been at a call for too long. */
static void expire(void) {
  state = OVERDUE;
  send_control(EXPIRED, NULL, 0);
  kill_function();
  set_alarm(PATIENCE_US);
}

/* Does all that can be done now. */
void advance_boot(void) {
  if (phase() != RUNNING && phase() != DRAINING) return;
  if (phase() == RUNNING && state == BOOTING && probe_at_us <= now_us()) probe();
  send_stream_frames();
  drop_old_spares();
  wake_masters();
  notice_end();
  if (phase() == RUNNING && state == SETTLING && has_settled()) terminate();
  if (phase() == RUNNING && state == SERVING && limit_has_passed()) expire();
  if (phase() != RUNNING || (tail_is_due() && !feed_tail())) return;
  if (is_idle()) tail_due = false;
  freeze();
}

/* Returns the milliseconds until the life of the instance is to be looked at, or -1. */
static int life_recheck_ms(void) {
  if (phase() == DRAINING) return quiet_ms() > 0 ? quiet_ms() : -1;
  if (phase() == RUNNING && waking_ms() > 0) return waking_ms();
  if (phase() == RUNNING && (state == SETTLING || wants_freeze())) return (int)(next_look_us() / 1000) + 1;
  if (phase() != RUNNING || state != BOOTING) return -1;
  const uint64_t now = now_us();
  return probe_at_us <= now ? 0 : (int)((probe_at_us - now + 999) / 1000);
}

/* Returns the milliseconds until something is to be done that no event announces, or -1. */
int boot_recheck_ms(void) {
  const int waits[] = {life_recheck_ms(), spares_ms(), phase() == RUNNING && state == SERVING ? limit_ms() : -1};
  int least = -1;
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
    if (waits[i] >= 0 && (least < 0 || waits[i] < least)) least = waits[i];
  return least;
}

/* Reads the output that is there: what a call has printed comes before the end of its stream. */
static void collect_logs(void) {
  enum { READS_MOST = 16 };
  for (int i = 0; i < LOGS; i++)
    for (int reads = 0; reads < READS_MOST && logs_may_flow() && read_log(i); reads++) continue;
}

static void begin_call(void) {
  wake_processes();
  was_idle = false;
  limit_logs(log_limit);
  tail_due = true;
}

/* Returns whether a call comes later than it may: the server was stopped, and another may have made the call by now. */
static bool comes_late(uint32_t within_ms) { return within_ms > 0 && since_ready_us() > within_ms * 1000ULL; }

static bool take_open(uint32_t number, uint32_t within_ms, uint32_t most_ms) {
  if (serves || number == 0 || number % 2 != 0) return false;
  if (phase() != RUNNING || state == OVERDUE) return open_stream(number, ECONNREFUSED);
  if (state != SERVING) return false;
  if (comes_late(within_ms)) return open_stream(number, ETIMEDOUT);
  begin_call();
  begin_limit(number, most_ms);
  return open_stream(number, 0);
}

/* Takes CALL of an app that asks for its calls: one begins. */
static bool take_call(uint32_t within_ms, uint32_t most_ms) {
  if (!serves || in_call) return false;
  if (phase() == RUNNING && comes_late(within_ms)) leave();
  begin_call();
  begin_limit(0, most_ms);
  return in_call = true;
}

/* Takes CALL of such an app: one has ended. */
static bool take_call_end(void) {
  if (!serves || !in_call) return false;
  end_limit(0);
  if (phase() == RUNNING) {
    collect_logs();
    send_used();
  }
  in_call = false;
  return true;
}

/* Takes CLOSE. Returns false if it is of no known kind. */
static bool take_close(uint32_t number, uint8_t how, uint32_t got) {
  if (how != CLOSE_BOTH && (serves || (how != CLOSE_STREAM && how != CLOSE_UNFINISHED))) return false;
  if (phase() == RUNNING) collect_logs();
  close_stream(number, how == CLOSE_STREAM && state != SERVING ? CLOSE_BOTH : (enum closing)how, got);
  return true;
}

/* Takes FINISH. An app that has extensions may name some that get more time than its command. */
static bool take_finish(const uint8_t *payload, uint32_t length) {
  if (state == SETTLING || state == ENDING || state == PARTING || state == KILLED) return false;
  kill_after_ms = get32(payload);
  if (length == FINISH_LONG && (part_after_ms = get32(payload + 4)) < kill_after_ms) return false;
  if (length == FINISH_LONG && !await_extensions(get16(payload + 8))) return false;
  if (state == LATE || state == OVERDUE || phase() == DRAINING) return true;
  if (phase() == RUNNING) notice_end();
  if (state == SERVING && !has_settled()) {
    state = SETTLING;
    wake_all();
  } else {
    terminate();
  }
  return true;
}

/* Takes a frame to an instance that was started. Returns false if it must not come now, or is not of its form. */
bool take_instance_frame(uint8_t type, const uint8_t *payload, uint32_t length) {
  if (type == START) return length == 0 && take_start();
  if (type == CALL && length == CALL_BEGINS) return payload[0] == 1 && take_call(get32(payload + 1), get32(payload + 5));
  if (type == CALL) return length == 1 && payload[0] == 0 && take_call_end();
  if (length < 4) return false;
  const uint32_t number = get32(payload);
  switch (type) {
    case OPEN:
      return length == OPEN_SIZE && take_open(number, get32(payload + 4), get32(payload + 8));
    case APP_DATA:
      return length > 4 && take_stream_data(number, payload + 4, length - 4);
    case APP_CREDIT:
      return length == 8 && take_stream_credit(number, get32(payload + 4));
    case APP_CLOSE:
      return length == 9 && take_close(number, payload[4], get32(payload + 5));
    case FINISH:
      return (length == 4 || (length == FINISH_LONG && serves)) && take_finish(payload, length);
    default:
      return false;
  }
}

/* The command has had its time, but extensions have some left. */
static void begin_parting(void) {
  state = PARTING;
  if (!end_is_kept()) kill(-function_process(), SIGKILL);
  set_alarm((part_after_ms - kill_after_ms) * 1000ULL);
}

/* Acts on the alarm while the command runs, or is about to. */
void take_boot_alarm(void) {
  if (phase() == RECEIVING || state == KILLED || state == LATE || state == OVERDUE) leave();
  if (state == ENDING && extensions_are_awaited()) return begin_parting();
  if (state == PARTING && end_is_kept()) return conclude_kept_end();
  if (state == BOOTING) found_count = list_listeners(found, LISTENERS_MOST);
  state = state == BOOTING ? LATE : KILLED;
  kill_function();
  set_alarm(PATIENCE_US);
}

/* Says how the app has ended. */
void conclude_boot(void) {
  if (state != LATE) return send_exit();
  uint8_t *payload = payload_room(6 + TOLD_MOST * LISTENER_SIZE);
  if (payload == NULL) return;
  const int count = found_count < 0 ? 0 : found_count < TOLD_MOST ? found_count : TOLD_MOST;
  uint8_t *at = put(put(put(payload, FAILED_LISTENING, 1), ETIMEDOUT, 4), (uint64_t)count, 1);
  for (int i = 0; i < count; i++) at = put_listener(at, &found[i]);
  commit_frame(FAILED, (size_t)(at - payload));
  enter(ANSWERING);
}

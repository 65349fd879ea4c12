/*
 * Frames from the server: REQUEST, then ENV and FILE, then BODY. When all of them are here, the function starts; with the
 * contract `stdio` it does not wait for BODY. In place of REQUEST, BOOT starts a command that serves calls through streams:
 * what comes after that goes to boot/boot.c.
 *
 * main.c calls receive() whenever stdin has something to read. What a frame brings goes to its owner: variables to
 * variables.c, files and the body to files.c or contracts/stdio.c.
 *
 * Owns the input buffer, what is still to come of the request, and the request's own settings.
 */
#include "boot/boot.h"
#include "cell/cell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { FLAG_AGAIN = 1, FLAG_BODY_FILE = 2, FLAG_OPEN_BODY = 4 };

static uint8_t in[2 * (HEADER + PAYLOAD_MAX)];
static size_t in_used;

static uint32_t body_left, extras_left; /* bytes of BODY, or UNKNOWN_LENGTH, and frames of ENV and FILE, still to come */
static uint32_t grace, response_most;

static void take_frame(uint8_t type, const uint8_t *payload, uint32_t length);
static void discard(void);

/* Returns whether an answer is on its way: no frame counts any more, but for the rest of a body that the function did not
 * wait for if another request may follow it. */
static bool is_over(void) { return phase() == ANSWERING && !(given.stdio && may_serve_again() && request_is_unread()); }

/* Reads from the server. At the end of stdin the call ends, whatever the phase. */
void receive(void) {
  /* An answer is on its way: from here on only the end of stdin matters, though the server may still be sending a body
   * that we refused. */
  if (is_over() || phase() == LEAVING) return discard();
  ssize_t n = read(STDIN_FILENO, in + in_used, sizeof in - in_used);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) leave();
  in_used += (size_t)n;
  size_t at = 0;
  bool secret = false; /* some of these bytes must not stay in the buffer once they are taken */
  while (!is_over() && in_used - at >= HEADER) {
    uint32_t length = get32(in + at + 1);
    if (length > PAYLOAD_MAX) return fail(FAILED_FRAMES, EMSGSIZE);
    if (in_used - at < HEADER + length) break;
    secret = secret || in[at] == ENV || in[at] == ENV_DEFAULT || in[at] == FILE_PIECE;
    take_frame(in[at], in + at + HEADER, length);
    at += HEADER + length;
  }
  in_used -= at; /* one move for each read, not for each frame: many small frames stay cheap */
  memmove(in, in + at, in_used);
  if (secret || extras_left > 0) explicit_bzero(in + in_used, at);
  const bool is_complete = !given.boot && !given.stdio && !request_is_unread();
  if (is_complete && (phase() == RUNNING || phase() == DRAINING) && in_used > 0) fail(FAILED_FRAMES, EPROTO);
}

/* Reads from the server and forgets it. Whatever the buffer holds by now is of no use either. */
static void discard(void) {
  ssize_t n = read(STDIN_FILENO, in, sizeof in);
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
  if (phase() == LEAVING) _exit(0);
  leave();
}

/* Returns whether the server has yet to send some of what it announced. */
bool request_is_unread(void) { return body_left > 0 || extras_left > 0; }

/* Returns the most that a response may hold, in bytes. */
uint32_t response_limit(void) { return response_most; }

/* Returns the time from SIGTERM at the deadline to SIGKILL. */
uint32_t grace_ms(void) { return grace; }

static void start_when_complete(void) {
  if (extras_left > 0 || (body_left > 0 && !given.stdio)) return;
  close_request_files();
  start_function();
  if (given.stdio && phase() == RUNNING) begin_streams(body_left);
  if (given.boot && phase() == RUNNING) begin_boot();
}

/* Takes REQUEST. Returns false if the frame is not of the form that PROTOCOL.md gives it. */
static bool take_request(const uint8_t *payload, uint32_t length) {
  if (cell_setting.wanted && !cells_are_on()) leave(); /* never in anything weaker: READY has said so */
  const uint8_t flags = length < 33 ? 0 : payload[24];
  if (length < 33 || flags > (FLAG_AGAIN | FLAG_BODY_FILE | FLAG_OPEN_BODY)) return false;
  if ((flags & FLAG_OPEN_BODY) != 0 && (!given.stdio || get32(payload + 16) != 0)) return false;
  const uint32_t root_length = get16(payload + 29);
  if (length < 33 + root_length) return false;
  const uint32_t id_length = get16(payload + 31 + root_length);
  if (length != 33 + root_length + id_length) return false;
  const char *root = (const char *)payload + 31, *id = root + root_length + 2;
  if (root_length == 0 || root[0] != '/' || memchr(root, '\0', root_length) != NULL) return false;
  if (id_length == 0 || memchr(id, '\0', id_length) != NULL || memchr(id, '/', id_length) != NULL) return false;
  if (root_length + 1 + id_length >= PATH_MAX) return false;
  const uint32_t within = get32(payload + 25);
  if (within > 0 && since_ready_us() > within * 1000ULL) leave(); /* the server was stopped; another may run the call by now */
  name_context(root, root_length, id, id_length);
  set_alarm(get32(payload) * 1000ULL);
  grace = get32(payload + 4);
  response_most = get32(payload + 8);
  limit_logs(get32(payload + 12));
  body_left = (flags & FLAG_OPEN_BODY) != 0 ? UNKNOWN_LENGTH : get32(payload + 16);
  extras_left = get32(payload + 20);
  allow_another((flags & FLAG_AGAIN) != 0 && is_reusable());
  if (!make_context()) return true;
  if (!given.stdio && !make_files(body_left == 0, (flags & FLAG_BODY_FILE) != 0)) return true;
  enter(RECEIVING);
  start_when_complete();
  return true;
}

/* Takes BOOT: from here on, the command has so long until it listens. */
static bool take_boot(const uint8_t *payload, uint32_t length) {
  if (!read_boot(payload, length)) return false;
  set_alarm(get32(payload + 1) * 1000ULL);
  limit_logs(get32(payload + 5));
  extras_left = get32(payload + 9);
  if (!prepare_boot()) return true;
  enter(RECEIVING);
  start_when_complete();
  return true;
}

static bool take_extra(uint8_t type, const uint8_t *payload, uint32_t length) {
  const bool is_default = type == ENV_DEFAULT;
  bool taken = type == FILE_PIECE && take_file(payload, length);
  if (type == ENV || is_default) taken = take_variable(payload, length, is_default);
  if (taken && phase() == RECEIVING) {
    extras_left--;
    start_when_complete();
  }
  return taken;
}

/* Takes BODY. One that goes to the function's stdin may be cut short by an empty piece. */
static bool take_body(const uint8_t *payload, uint32_t length) {
  if (given.stdio) {
    if (body_left == 0 || length > body_left) return false;
    if (length == 0) body_left = 0;
    else if (body_left != UNKNOWN_LENGTH) body_left -= length;
    return take_input(payload, length, body_left);
  }
  if (length == 0 || length > body_left) return false;
  body_left -= length;
  if (write_body(payload, length)) start_when_complete();
  return true;
}

static void take_frame(uint8_t type, const uint8_t *payload, uint32_t length) {
  bool taken = false;
  if (given.stdio && type == APP_CREDIT) taken = take_credit(payload, length);
  else if (phase() == WAITING && given.boot) taken = type == BOOT && take_boot(payload, length);
  else if (phase() == WAITING) taken = type == REQUEST && take_request(payload, length);
  else if (phase() == RECEIVING && extras_left > 0) taken = take_extra(type, payload, length);
  else if (given.boot) taken = take_instance_frame(type, payload, length);
  else if (phase() == RECEIVING || given.stdio) taken = type == BODY && take_body(payload, length);
  if (!taken) fail(FAILED_FRAMES, EPROTO);
}

/*
 * The numbers in frames, and the buffer of frames to send.
 *
 * Code that has something to tell the server puts a frame into the buffer, and main.c flushes it. A large payload is
 * written straight into the buffer: ask payload_room() for a place, write there, then call commit_frame().
 *
 * Owns the buffer.
 */
#include "cell/cell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* READY, EXPIRED, and EXIT or FAILED need less than this together. LOG, META and RESPONSE always leave it free. */
enum { CONTROL_ROOM = 512 };
/* Surroundings of a function, in READY. */
enum { IN_PROCESSES = 0, IN_CELLS = 1, WITHOUT_CELLS = 2 };

static uint8_t out[4 * (HEADER + PAYLOAD_MAX)]; /* stdout has yet to take out[head..tail) */
static size_t head, tail;
/* The moment of the last READY. */
static uint64_t ready_us;

/* The part of the buffer that waits for the frame behind it, and its deadline. Any other frame takes it along. */
static size_t held;
static uint64_t held_until_us;

/* Reads a big-endian number. */
uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }

/* Writes `value` as `bytes` bytes, big-endian, and returns where the next number goes. */
uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
  while (bytes-- > 0) *at++ = (uint8_t)(value >> (8 * bytes));
  return at;
}

/* Returns the place for a payload of at most `most` bytes, or NULL if the server must take some of the buffer first. */
uint8_t *payload_room(size_t most) {
  size_t need = HEADER + most + CONTROL_ROOM;
  if (sizeof out - (tail - head) < need) return NULL;
  if (sizeof out - tail < need) {
    memmove(out, out + head, tail - head);
    tail -= head;
    head = 0;
  }
  return out + tail + HEADER;
}

/* Makes a frame of the `length` bytes that were written at payload_room(). */
void commit_frame(uint8_t type, size_t length) {
  put(put(out + tail, type, 1), length, 4);
  tail += HEADER + length;
}

/* Adds a frame that is small enough for CONTROL_ROOM, so that it always fits. */
void send_control(uint8_t type, const uint8_t *payload, size_t length) {
  if (length > 0) memcpy(out + tail + HEADER, payload, length);
  commit_frame(type, length);
}

/* Tells who the function is: the server knows whom it asked for, and the engine may have made somebody else of it.
 * `no_cells` says why there are none though the server has asked for them; it is NULL if all is well. */
void send_ready(const char *no_cells) {
  uint8_t payload[CONTROL_ROOM - HEADER - 16], *at = put(payload, VERSION, 1);
  const size_t most = sizeof payload - 10, said = no_cells == NULL ? 0 : strnlen(no_cells, most);
  const bool in_cell = cell_setting.wanted && no_cells == NULL;
  at = put(put(at, in_cell ? cell_setting.uid : geteuid(), 4), in_cell ? cell_setting.gid : getegid(), 4);
  at = put(at, in_cell ? IN_CELLS : no_cells == NULL ? IN_PROCESSES : WITHOUT_CELLS, 1);
  if (said > 0) memcpy(at, no_cells, said);
  send_control(READY, payload, (size_t)(at - payload) + said);
  ready_us = now_us();
}

uint64_t since_ready_us(void) { return now_us() - ready_us; }

/* Has all that is in the buffer wait for the next frame, but not longer than `most_us` from the first time. Each write wakes three
 * processes on its way to the server. */
void hold_frames(uint64_t most_us) {
  if (held == 0) held_until_us = now_us() + most_us;
  held = tail - head;
}

/* Returns the milliseconds until what is held has waited long enough, rounded up; -1 if nothing is held. */
int held_ms(void) {
  if (held == 0 || held != tail - head) return -1;
  const uint64_t now = now_us();
  return held_until_us <= now ? -1 : (int)((held_until_us - now + 999) / 1000);
}

/* Gives stdout as much as it takes without blocking, unless that is held. */
void flush_frames(void) {
  if (held_ms() >= 0) return;
  held = 0;
  while (head < tail) {
    ssize_t n = write(STDOUT_FILENO, out + head, tail - head);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) leave();
    head += (size_t)n;
  }
  head = tail = 0;
}

bool all_sent(void) { return head == tail; }

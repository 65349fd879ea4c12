/*
 * The numbers in frames, and the buffer of frames to send.
 *
 * Code that has something to tell the server puts a frame into the buffer, and main.c flushes it. A large payload is
 * written straight into the buffer: ask payload_room() for a place, write there, then call commit_frame().
 *
 * Owns the buffer.
 */
#include "gate.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* READY, EXPIRED, and EXIT or FAILED need less than this together. LOG, META and RESPONSE always leave it free. */
enum { CONTROL_ROOM = 256 };

static uint8_t out[4 * (HEADER + PAYLOAD_MAX)]; /* stdout has yet to take out[head..tail) */
static size_t head, tail;

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

/* Tells who we are: the server knows whom it asked for, and the engine may have made somebody else of it. */
void send_ready(void) {
  uint8_t payload[9], *at = put(payload, VERSION, 1);
  put(put(at, geteuid(), 4), getegid(), 4);
  send_control(READY, payload, sizeof payload);
}

/* Gives stdout as much as it takes without blocking. */
void flush_frames(void) {
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

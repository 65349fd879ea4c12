/*
 * The contract `stdio`: the body goes to the function's stdin as it arrives, and what it writes to its stdout is the
 * answer.
 *
 * Input and output know nothing of each other: a function may answer before it has read everything, or read nothing at
 * all. The server sends no more of the body than it has credit for, so that there is always room for it here: stdin of
 * the gate is read whatever the function does, and its end is noticed. Nor do we send more of the output than the server
 * has given credit for, so that a caller who is slow to take it stops the function and nothing else.
 *
 * function.c opens the input for each process that it forks, request.c fills it, and logs.c, which has the pipes of the
 * output, leaves stdout to this file.
 *
 * Owns the pipe to the function's stdin, what is to be written to it, the credit of both, and the count of the output.
 */
#include "../gate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The most of the body that waits here. The server has credit for so much of it from the beginning. */
enum { WINDOW = 256 << 10 };
/* The server keeps so much of an answer until the function has ended, unless the answer is to have no limit. Most functions
 * print it at their end: so it waits a moment for EXIT. */
enum { KEPT = 64 << 10, KEPT_US = 5000 };
/* The stream of DATA and CREDIT that is the function itself. */
enum { FUNCTION_STREAM = 0, STREAM_HEADER = 4 };

static int input_fd = -1;
static uint8_t waiting[WINDOW]; /* a ring. A page of it that is never written takes no memory */
static size_t start, used;
static bool complete;     /* all of the body is here */
static uint32_t unsent;   /* bytes of the body that the server has yet to send */
static uint32_t credit;   /* bytes of the body that it may send now */
static uint32_t returned; /* bytes that the function has taken since the last CREDIT */
static uint64_t output;   /* bytes */
static uint64_t allowed;  /* bytes of output for which the server has given credit */
static bool too_much_output;

/* Opens the pipe of a process that is being prepared. Returns our end of it, or -1. */
int open_input(int *function_end) {
  int ends[2];
  *function_end = -1;
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  fcntl(ends[1], F_SETFL, O_NONBLOCK); /* ours only: the function's must block */
  *function_end = ends[0];
  return ends[1];
}

/* Takes the pipe of the process that gets the next call. */
void adopt_input(int fd) { input_fd = fd; }

/* Takes a request, whose body has so many bytes: UNKNOWN_LENGTH if an empty piece ends it. */
void begin_streams(uint32_t length) {
  allowed = WINDOW;
  unsent = length;
  credit = WINDOW;
  complete = length == 0;
  feed_input();
}

/* Takes a piece of the body, of which so many bytes are still to come. Returns false if the server had no credit for it. */
bool take_input(const uint8_t *bytes, uint32_t length, uint32_t left) {
  if (length > credit) return false;
  unsent = left;
  credit -= length;
  complete = unsent == 0;
  if (input_fd >= 0) {
    const size_t end = (start + used) % WINDOW;
    const size_t before_wrap = length < WINDOW - end ? length : WINDOW - end;
    memcpy(waiting + end, bytes, before_wrap);
    memcpy(waiting, bytes + before_wrap, length - before_wrap);
    used += length;
  }
  feed_input();
  return true;
}

/* Gives the function as much as its pipe takes, and the end once that was all. A function that has closed its stdin
 * gets no more, and neither does the server get more credit. */
void feed_input(void) {
  while (input_fd >= 0 && used > 0) {
    const size_t before_wrap = used < WINDOW - start ? used : WINDOW - start;
    ssize_t n = write(input_fd, waiting + start, before_wrap);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return close_input();
    start = (start + (size_t)n) % WINDOW;
    used -= (size_t)n;
    returned += (uint32_t)n;
  }
  if (complete) close_input();
}

/* Returns the descriptor to wait for until it can be written to, or -1. */
int waiting_input(void) { return used > 0 ? input_fd : -1; }

void close_input(void) {
  close_fd(&input_fd);
  start = used = 0;
  returned = 0;
}

/* Tells the server of more credit, in steps that are worth a frame. It needs none for a body that it may send whole. */
void send_credit(void) {
  uint8_t *payload;
  if (returned < WINDOW / 2 || credit >= unsent || (payload = payload_room(STREAM_HEADER + 4)) == NULL) return;
  put(put(payload, FUNCTION_STREAM, 4), returned, 4);
  commit_frame(STREAM_CREDIT, STREAM_HEADER + 4);
  credit += returned;
  returned = 0;
}

/* Takes CREDIT. Returns false if it is for more than was sent. One that crossed the end of its call means nothing. */
bool take_credit(const uint8_t *payload, uint32_t length) {
  if (length != STREAM_HEADER + 4 || get32(payload) != FUNCTION_STREAM) return false;
  if (phase() != RUNNING) return true;
  allowed += get32(payload + STREAM_HEADER);
  return allowed <= output + WINDOW;
}

static bool is_limit_reached(void) { return response_limit() != NO_LIMIT && output == response_limit(); }

/* Returns whether stdout is to be read now. What is left of it when the function has ended needs no credit: it is little,
 * and a caller who is slow to take it must not hold the container. */
bool output_may_flow(void) { return phase() != RUNNING || output < allowed || is_limit_reached(); }

/* Returns how much may be read of stdout now, with its credit, in one frame; 0 if there must be no more of it. */
static size_t output_room(void) {
  uint64_t room = PAYLOAD_MAX - STREAM_HEADER;
  if (phase() == RUNNING && allowed - output < room) room = allowed - output;
  if (response_limit() != NO_LIMIT && response_limit() - output < room) room = response_limit() - output;
  return (size_t)room;
}

/* Reads once from the function's stdout, as read() does; the buffer of frames has room, and output_may_flow(). What is
 * beyond the limit of the response ends the output, and the function with it. */
ssize_t read_output(int fd) {
  uint8_t beyond;
  const size_t keep = output_room();
  uint8_t *payload = keep > 0 ? payload_room(STREAM_HEADER + keep) : NULL;
  ssize_t n = payload != NULL ? read(fd, payload + STREAM_HEADER, keep) : read(fd, &beyond, 1);
  if (n <= 0) return n;
  if (payload == NULL) {
    too_much_output = true;
    if (phase() == RUNNING) kill_function();
    return 0;
  }
  const bool is_first = all_sent() || held_ms() >= 0;
  put(payload, FUNCTION_STREAM, STREAM_HEADER);
  commit_frame(STREAM_DATA, STREAM_HEADER + (size_t)n);
  output += (uint64_t)n;
  if (is_first && phase() == RUNNING && output <= KEPT && response_limit() != NO_LIMIT) hold_frames(KEPT_US);
  return n;
}

bool output_was_too_much(void) { return too_much_output; }

/* Makes ready for the next call. */
void reset_streams(void) {
  close_input();
  output = 0;
  too_much_output = false;
}

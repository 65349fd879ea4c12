/*
 * The streams: connections to the app's port, each relayed to and from frames.
 *
 * Towards the app, the server sends no more than there is room for here, so that the gate always reads its own stdin.
 * Towards the server, a connection is read as far as the server has given credit and the buffer of frames has room: an app
 * has to wait as for a slow client. One turn of main.c's loop reads once from each connection that has something, and what
 * all of them have goes out in one write.
 *
 * The app may end its side, and it may be gone altogether while its last bytes are still unread: nothing that a write says
 * ends a stream, only what reading says.
 *
 * Owns the streams, where they are connected to, and the endings that the server has not been told of.
 */
#include "boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most bytes on their way to the server and to the app, of one stream. */
enum { WINDOW_TO_SERVER = 512 << 10, WINDOW_TO_APP = 64 << 10 };
enum { NUMBER = 4, CLOSE_SIZE = 9 };
/* Endings of a stream in CLOSE. */
enum { END = 1, RESET = 2, UNCONNECTED = 3 };
/* A connection of a dead app that has been silent for so long has no more to say: someone else holds it open. */
#define QUIET_US (1000 * 1000ULL)

static struct stream {
  bool live;
  uint32_t number;
  int fd;
  bool asks;         /* the app has connected, to ask for something */
  uint32_t credit;   /* bytes that may be sent to the server */
  uint32_t room;     /* bytes that the server may send */
  uint32_t returned; /* bytes that the app has taken since the last CREDIT */
  uint32_t said;     /* bytes of the app that were sent to the server, modulo 2^32 */
  uint32_t written;  /* bytes of the server that the connection has taken, modulo 2^32 */
  bool unfinished;   /* its call goes on without it, and so does the limit of that */
  bool used;         /* the app may have got a byte, or has sent one, or has ended its side */
  uint64_t new_us;   /* when it was connected, if the app has said nothing yet; 0 of a connection that was spare */
  bool ended;        /* the app has ended its side */
  int write_error;   /* the app takes no more */
  uint8_t *waiting;  /* a ring of WINDOW_TO_APP bytes, while there are some that the connection has not taken */
  uint32_t start, waiting_used;
} streams[STREAMS_MOST];
static int limit, live, first; /* `first` is the stream whose turn it is */
static struct listener target;
static uint64_t last_heard_us;

/* Endings that wait for room in the buffer of frames. A server that opens and closes streams but reads nothing fills it. */
enum { ENDINGS_MOST = 1024 };
static struct ending {
  uint32_t number;
  uint8_t how;
  uint32_t detail; /* an errno, or the bytes that were written */
} endings[ENDINGS_MOST];
static int endings_from, endings_used;

void limit_streams(int most) { limit = most; }

void set_target(const struct listener *listener) { target = *listener; }

int stream_count(void) { return live; }

static struct stream *find(uint32_t number) {
  for (struct stream *stream = streams; stream < streams + STREAMS_MOST; stream++)
    if (stream->live && stream->number == number) return stream;
  return NULL;
}

static void send_endings(void) {
  uint8_t *payload;
  while (endings_used > 0 && (payload = payload_room(CLOSE_SIZE)) != NULL) {
    const struct ending *ending = &endings[endings_from];
    put(put(put(payload, ending->number, NUMBER), ending->how, 1), ending->detail, 4);
    commit_frame(STREAM_CLOSE, CLOSE_SIZE);
    endings_from = (endings_from + 1) % ENDINGS_MOST;
    endings_used--;
  }
}

static void tell_ending(uint32_t number, uint8_t how, uint32_t detail) {
  if (endings_used == ENDINGS_MOST) leave();
  endings[(endings_from + endings_used++) % ENDINGS_MOST] = (struct ending){number, how, detail};
  send_endings();
}

static void drop_waiting(struct stream *stream) {
  free(stream->waiting);
  stream->waiting = NULL;
  stream->start = stream->waiting_used = 0;
}

/* Ends a stream, and says so: whoever ends it, this is the last that the server hears of it. */
static void finish_stream(struct stream *stream, int error) {
  tell_ending(stream->number, stream->used ? RESET : UNCONNECTED, (uint32_t)error);
  close_fd(&stream->fd);
  drop_waiting(stream);
  if (!stream->unfinished) end_limit(stream->number);
  stream->live = false;
  live--;
}

/* Makes a stream of a connection. Returns NULL if there is one of that number, or no place for another one. */
static struct stream *begin_stream(uint32_t number, int fd) {
  struct stream *stream = streams;
  if (live >= limit || find(number) != NULL) return NULL;
  while (stream->live) stream++;
  *stream = (struct stream){.live = true, .number = number, .fd = fd, .credit = WINDOW_TO_SERVER, .room = WINDOW_TO_APP};
  live++;
  return stream;
}

/* Takes OPEN, which may be refused by an errno. Returns false if there is such a stream, or no place for another one. */
bool open_stream(uint32_t number, int refusal) {
  struct stream *stream = begin_stream(number, -1);
  if (stream == NULL) return false;
  errno = refusal;
  stream->fd = refusal == 0 ? take_spare() : -1;
  if (stream->fd >= 0) return true;
  stream->new_us = now_us();
  stream->fd = refusal == 0 ? dial(&target) : -1;
  if (stream->fd < 0) finish_stream(stream, errno);
  return true;
}

/* Takes a connection of the app's. Returns false if there is no place for it. */
bool adopt_stream(uint32_t number, int fd) {
  struct stream *stream = begin_stream(number, fd);
  if (stream != NULL) stream->asks = true;
  return stream != NULL;
}

/* The app takes no more. It may have said something before that, which is still to be read. */
static void stop_writing(struct stream *stream, int error) {
  stream->write_error = error;
  drop_waiting(stream);
  if (stream->ended) finish_stream(stream, error);
}

/* Writes to a connection. Returns how much it took. */
static uint32_t write_some(struct stream *stream, const uint8_t *bytes, uint32_t length) {
  ssize_t n;
  do n = send(stream->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN) stop_writing(stream, errno);
  if (n <= 0) return 0;
  stream->used = true;
  stream->returned += (uint32_t)n;
  stream->written += (uint32_t)n;
  return (uint32_t)n;
}

/* Keeps what a connection does not take yet. */
static void keep(struct stream *stream, const uint8_t *bytes, uint32_t length) {
  if (stream->waiting == NULL) stream->waiting = malloc(WINDOW_TO_APP);
  if (stream->waiting == NULL) return finish_stream(stream, ENOMEM);
  const uint32_t end = (stream->start + stream->waiting_used) % WINDOW_TO_APP;
  const uint32_t before_wrap = length < WINDOW_TO_APP - end ? length : WINDOW_TO_APP - end;
  memcpy(stream->waiting + end, bytes, before_wrap);
  memcpy(stream->waiting, bytes + before_wrap, length - before_wrap);
  stream->waiting_used += length;
}

/* The app has ended its side. The server learns how much it had been given by then: what comes later is perhaps not read. */
static void take_end(struct stream *stream) {
  stream->ended = stream->used = true;
  tell_ending(stream->number, END, stream->written);
  if (stream->write_error != 0) finish_stream(stream, stream->write_error);
}

/* Returns whether an app that asks has given up, also if nobody has read that yet: then an answer would be lost. */
static bool has_given_up(struct stream *stream) {
  char next;
  if (!stream->asks || stream->ended) return stream->asks;
  if (recv(stream->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) != 0) return false;
  take_end(stream);
  return true;
}

/* Takes DATA. A stream that is not there has ended, and the server does not know yet. Returns false for more bytes than
 * there was credit for. */
bool take_stream_data(uint32_t number, const uint8_t *bytes, uint32_t length) {
  struct stream *stream = find(number);
  if (stream == NULL) return true;
  if (length > stream->room) return false;
  stream->room -= length;
  if (stream->write_error != 0 || has_given_up(stream)) return true;
  const uint32_t taken = stream->waiting_used == 0 ? write_some(stream, bytes, length) : 0;
  if (stream->live && stream->write_error == 0 && taken < length) keep(stream, bytes + taken, length - taken);
  return true;
}

/* Writes what is waiting. */
static void write_waiting(struct stream *stream) {
  while (stream->waiting_used > 0) {
    const uint32_t before_wrap = WINDOW_TO_APP - stream->start;
    const uint32_t length = stream->waiting_used < before_wrap ? stream->waiting_used : before_wrap;
    const uint32_t taken = write_some(stream, stream->waiting + stream->start, length);
    if (taken == 0) return;
    stream->start = (stream->start + taken) % WINDOW_TO_APP;
    stream->waiting_used -= taken;
  }
  drop_waiting(stream);
}

/* Takes CREDIT. Returns false if it is for more than was sent. */
bool take_stream_credit(uint32_t number, uint32_t more) {
  struct stream *stream = find(number);
  if (stream == NULL) return true;
  if (more > WINDOW_TO_SERVER - stream->credit) return false;
  stream->credit += more;
  return true;
}

/* Returns whether a connection that was made for another stream is still waiting for the app's first byte: an app that serves
 * one connection after the other does not come to it while it has another one. */
static bool newcomer_waits(void) {
  const uint64_t now = now_us();
  for (const struct stream *stream = streams; stream < streams + STREAMS_MOST; stream++)
    if (stream->live && stream->new_us != 0 && now - stream->new_us > SPARE_US) return true;
  return false;
}

/* Takes CLOSE. With CLOSE_STREAM, another stream may have the connection if the server has `got` all that was sent to it: what is on its
 * way is more than the app was to say. Returns whether there was such a stream. */
bool close_stream(uint32_t number, enum closing how, uint32_t got) {
  struct stream *stream = find(number);
  if (stream == NULL) return false;
  const bool keep = how == CLOSE_STREAM;
  stream->used = true;
  stream->unfinished = how == CLOSE_UNFINISHED;
  const bool is_whole = stream->write_error == 0 && stream->waiting_used == 0 && stream->said == got;
  const bool is_good = phase() == RUNNING && !stream->ended && is_whole;
  if (keep && newcomer_waits()) {
    drop_spares();
  } else if (keep && is_good) {
    add_spare(stream->fd);
    stream->fd = -1;
  }
  finish_stream(stream, 0);
  return true;
}

/* Puts into the buffer of frames what the server is to know: endings, and credit in steps that are worth a frame. */
void send_stream_frames(void) {
  uint8_t *payload;
  send_endings();
  if (live == 0) return;
  for (struct stream *stream = streams; stream < streams + STREAMS_MOST; stream++) {
    if (!stream->live || stream->returned < WINDOW_TO_APP / 2) continue;
    if ((payload = payload_room(2 * NUMBER)) == NULL) return;
    put(put(payload, stream->number, NUMBER), stream->returned, NUMBER);
    commit_frame(STREAM_CREDIT, 2 * NUMBER);
    stream->room += stream->returned;
    stream->returned = 0;
  }
}

/* Reads once from a connection, which has credit. Returns false if the buffer of frames has no room. */
static bool read_stream(struct stream *stream) {
  const uint32_t most = stream->credit < PAYLOAD_MAX - NUMBER ? stream->credit : PAYLOAD_MAX - NUMBER;
  uint8_t *payload = payload_room(NUMBER + most);
  if (payload == NULL) return false;
  ssize_t n = recv(stream->fd, payload + NUMBER, most, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  last_heard_us = now_us();
  if (phase() == DRAINING) set_alarm(PATIENCE_US); /* the server takes what the app has left behind */
  if (n > 0) {
    put(payload, stream->number, NUMBER);
    commit_frame(STREAM_DATA, NUMBER + (size_t)n);
    stream->credit -= (uint32_t)n;
    stream->said += (uint32_t)n;
    stream->used = true;
    stream->new_us = 0;
    return true;
  }
  /* A failed write has taken the reset away from us. EPIPE says that the app had ended its side before. */
  const bool was_reset = n < 0 || (stream->write_error != 0 && stream->write_error != EPIPE);
  if (was_reset) {
    finish_stream(stream, n < 0 ? errno : stream->write_error);
    return true;
  }
  take_end(stream);
  return true;
}

/* Fills in a place for each stream, behind that of connections to come. One that waits for nothing has none: a reset connection would wake us all the time. */
int poll_streams(struct pollfd *fds) {
  const bool room = payload_room(PAYLOAD_MAX) != NULL;
  *fds++ = (struct pollfd){.fd = room ? app_listener() : -1, .events = POLLIN};
  if (live == 0) return 1;
  for (int i = 0; i < STREAMS_MOST; i++) {
    const struct stream *stream = &streams[i];
    const bool in = stream->live && !stream->ended && stream->credit > 0 && room;
    const bool out = stream->live && stream->waiting_used > 0;
    fds[i] = (struct pollfd){.fd = in || out ? stream->fd : -1, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
  }
  return STREAM_POLLS;
}

/* Takes the events of streams that poll_streams() has waited for. The one that finds no room is the next one's first. */
void relay_streams(const struct pollfd *fds, int count) {
  const int from = first;
  if (fds->revents != 0) accept_app();
  fds++;
  if (--count > 0) first = (first + 1) % count;
  for (int k = 0; k < count; k++) {
    const int i = (from + k) % count;
    struct stream *stream = &streams[i];
    /* It may have ended since, by a frame, and another one may have its place: that one reads nothing and does no harm. */
    if (fds[i].revents == 0 || !stream->live || stream->fd != fds[i].fd) continue;
    if (fds[i].revents & (POLLOUT | POLLERR | POLLHUP)) write_waiting(stream);
    if (!stream->live || stream->ended || stream->credit == 0) continue;
    if (fds[i].revents & (POLLIN | POLLERR | POLLHUP) && !read_stream(stream)) {
      first = i;
      return;
    }
  }
}

/* Takes the end of the app: what it has left behind is still to be read. */
void begin_drain(void) {
  last_heard_us = now_us();
  drop_spares();
}

/* Returns whether all that a dead app has sent is on its way. */
bool streams_are_drained(void) {
  bool unread = false, held_up = endings_used > 0 || !all_sent();
  for (struct stream *stream = streams; stream < streams + STREAMS_MOST; stream++) {
    if (!stream->live || stream->ended) continue;
    unread = true;
    held_up = held_up || stream->credit == 0;
  }
  if (unread && held_up) last_heard_us = now_us(); /* it is the server that is slow */
  return endings_used == 0 && (!unread || quiet_ms() == 0);
}

/* Returns the milliseconds until connections count as quiet. */
int quiet_ms(void) {
  const uint64_t now = now_us(), until = last_heard_us + QUIET_US;
  return until <= now ? 0 : (int)((until - now + 999) / 1000);
}

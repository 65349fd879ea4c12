/*
 * An instance that boots: the command is started before there is a call, listens on a port, and serves calls through
 * streams, byte streams of TCP that the server opens and that the gate relays. The gate knows nothing of what they carry.
 *
 *     boot.c       from BOOT to FINISH: waits until the ports listen, freezes the instance while nothing is open, ends it
 *     calm.c       whether it has finished starting, and what it does after a call
 *     freeze.c     stops its processes, and lets them go on
 *     listeners.c  which ports listen, and at which address
 *     dial.c       connections to them
 *     spares.c     those that wait a moment for another stream
 *     limits.c      for how long an instance may be at a call
 *     serve.c      connections from the app, where that is the one who asks for calls
 *     extensions.c programs that run beside such an app
 *     usage.c      the memory that it has taken
 *     streams.c    relays bytes between connections and frames, within the credit of either side
 *
 * The phases are those of phase.c: RECEIVING until all that BOOT announces is here, RUNNING while the command runs, and
 * DRAINING until what it has sent before its end is on its way.
 */
#ifndef BOOT_H
#define BOOT_H

#include "../gate.h"

#include <poll.h>

/* The most streams, the most ports that must listen, and the most descriptors that poll_streams() waits for. */
enum { STREAMS_MOST = 64, PORTS_MOST = 16, STREAM_POLLS = STREAMS_MOST + 1 };

/* ---- boot.c ---- */

bool read_boot(const uint8_t *payload, uint32_t length);
bool app_asks(void);
bool prepare_boot(void);
void begin_boot(void);
bool take_instance_frame(uint8_t type, const uint8_t *payload, uint32_t length);
void advance_boot(void);
void take_boot_alarm(void);
int boot_recheck_ms(void);
bool tail_is_due(void);
void conclude_boot(void);

/* ---- calm.c ---- */

void begin_watch(void);
uint64_t next_look_us(void);
bool has_been_calm(void);
void begin_settling(void);
bool has_settled(void);
bool has_running_thread(void);

/* ---- freeze.c ---- */

bool is_frozen(void);
void stop_processes(void);
void wake_processes(void);
void wake_masters(void);
void wake_all(void);
int waking_ms(void);

/* ---- listeners.c ---- */

/* A socket that listens. IPv4 addresses are mapped ones (::ffff:0:0/96). */
struct listener {
  uint8_t address[16];
  uint16_t port;
  uint32_t interface; /* that it is bound to, or 0 */
  bool only_v6;
};
int list_listeners(struct listener *found, int most);
void close_listener_list(void);
const struct listener *best_listener(const struct listener *found, int count, uint16_t port);

/* ---- dial.c ---- */

int dial(const struct listener *listener);
bool answers(uint16_t port, struct listener *found);

/* ---- spares.c ---- */

/* The time for which a connection is spare. */
#define SPARE_US (100 * 1000ULL)
void add_spare(int fd);
int take_spare(void);
void drop_spares(void);
void drop_old_spares(void);
int spares_ms(void);

/* ---- limits.c ---- */

void begin_limit(uint32_t number, uint32_t ms);
void end_limit(uint32_t number);
bool limit_has_passed(void);
int limit_ms(void);

/* ---- serve.c ---- */

bool listen_for_app(uint16_t port);
int app_listener(void);
void accept_app(void);

/* ---- extensions.c ---- */

bool start_extensions(void);
bool take_start(void);
void signal_extensions(int number);
bool await_extensions(uint32_t which);
bool extensions_are_awaited(void);
bool keep_end(int status, const struct rusage *usage);
bool end_is_kept(void);
void conclude_kept_end(void);
bool extension_ended(pid_t pid, int status);

/* ---- usage.c ---- */

void send_used(void);

/* ---- streams.c ---- */

/* The server's endings of a stream in CLOSE: with its connection, without it, and with it before the end of the call. */
enum closing { CLOSE_BOTH = 2, CLOSE_STREAM = 4, CLOSE_UNFINISHED = 5 };

void limit_streams(int most);
void set_target(const struct listener *listener);
int stream_count(void);
bool open_stream(uint32_t number, int refusal);
bool adopt_stream(uint32_t number, int fd);
bool take_stream_data(uint32_t number, const uint8_t *bytes, uint32_t length);
bool take_stream_credit(uint32_t number, uint32_t more);
bool close_stream(uint32_t number, enum closing how, uint32_t got);
void send_stream_frames(void);
int poll_streams(struct pollfd *fds);
void relay_streams(const struct pollfd *fds, int count);
void begin_drain(void);
bool streams_are_drained(void);
int quiet_ms(void);

#endif

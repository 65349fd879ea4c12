/*
 * The gate: PID 1 of a function's container.
 *
 * It says READY on stdout, waits for a request on stdin, runs a command for it, and sends back the output, the exit
 * status and the response files of that run. Then it exits, or, if the request said that another one may follow,
 * clears away what the run left behind and says READY again. PROTOCOL.md describes the frames; the server's end of
 * them is lib/runner/gate-protocol/.
 *
 * Three rules explain most of the code.
 * - Nothing may block. There is one poll loop (main.c), so that the end of stdin (the server is gone, or no longer
 *   wants the answer), the deadline and the function's exit are noticed no matter how full any pipe is.
 * - The function is hostile. It may run as our user, and it owns the context directory. It must not get at our
 *   descriptors, and no file that it leaves behind may make us hang or follow a link.
 * - The call ends when the main process ends, not when its output does: a grandchild may hold the pipes open forever.
 *
 * This header has the numbers of the protocol and what each file offers to the others. State is static in the file
 * that owns it; the others read and change it through these functions. The one exception is `given`, which is written
 * once, before anything else runs.
 */
#ifndef GATE_H
#define GATE_H

#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { VERSION = 10, HEADER = 5, PAYLOAD_MAX = 65536 };
/* Frames from the server. */
enum { REQUEST = 0x01, BODY = 0x02, ENV = 0x03, FILE_PIECE = 0x04, ENV_DEFAULT = 0x0B };
enum { BOOT = 0x05, OPEN = 0x06, APP_DATA = 0x07, APP_CREDIT = 0x08, APP_CLOSE = 0x09, FINISH = 0x0A, CALL = 0x0C, START = 0x0D };
/* Frames from the gate. */
enum { READY = 0x81, LOG = 0x82, EXPIRED = 0x83, EXIT = 0x84, RESPONSE = 0x85, FAILED = 0x86, META = 0x87, TAIL = 0x88 };
enum { BOOTED = 0x89, STREAM_DATA = 0x8A, STREAM_CREDIT = 0x8B, STREAM_CLOSE = 0x8C, ACCEPT = 0x8D, USED = 0x8E };
enum { EXTENSIONS = 0x8F, EXTENSION_END = 0x90 };
/* Stages of FAILED. */
enum { FAILED_CONTEXT = 1, FAILED_REQUEST, FAILED_START, FAILED_EXEC, FAILED_FRAMES, FAILED_SECRETS, FAILED_LISTENING };

/* The longest wait for others: for the server to take the answer, and for killed processes to die. */
#define PATIENCE_US (30 * 1000000ULL)
/* The tmpfs for secrets that the server has mounted. */
#define SECRETS "/run/secrets"
/* The same for images of OpenFaaS, whose functions look for theirs here. */
#define WATCHDOG_SECRETS "/var/openfaas/secrets"

/* ---- main.c: start-up and the poll loop ---- */

/* The most mounts that calls share. */
enum { SHARED_MOST = 16 };

/* The state that the engine started us with. set_up() changes some of it for the gate; the function gets it back. */
struct given {
  char **command;
  char **shared; /* paths of mounts that calls share, as the server wants it: they are neither cleared nor compared */
  int shared_count;
  bool stdio;   /* the contract is `stdio`, not `files` */
  bool boot;    /* the command serves calls through streams (boot/boot.h) */
  bool is_init; /* PID 1 of its namespace; false when a test runs the gate as a plain process */
  mode_t umask;
  sigset_t signals;
  struct sigaction sigpipe, sigchld;
};
extern struct given given;

/* ---- phase.c: how far the call has come ---- */

enum phase { WAITING, RECEIVING, RUNNING, DRAINING, ANSWERING, RESETTING, LEAVING };
enum phase phase(void);
void enter(enum phase next);

/* Returns whether another request may follow this one. */
bool may_serve_again(void);
void allow_another(bool allowed);

uint64_t now_us(void);
void set_alarm(uint64_t in_us);
void clear_alarm(void);
bool alarm_is_due(void);
int poll_timeout(void);

/* The two early ends of a call: with a FAILED frame, and without an answer. */
void fail(uint8_t stage, int error);
_Noreturn void leave(void);

/* ---- frames.c: the numbers in frames, and the buffer of those to send ---- */

uint32_t get16(const uint8_t *at);
uint32_t get32(const uint8_t *at);
uint8_t *put(uint8_t *at, uint64_t value, int bytes);

uint8_t *payload_room(size_t most);
void commit_frame(uint8_t type, size_t length);
void send_control(uint8_t type, const uint8_t *payload, size_t length);
void send_ready(const char *no_cells);
uint64_t since_ready_us(void);
void hold_frames(uint64_t most_us);
int held_ms(void);
void flush_frames(void);
bool all_sent(void);

/* ---- request.c: frames from the server ---- */

void receive(void);
bool request_is_unread(void);
uint32_t response_limit(void);
uint32_t grace_ms(void);

/* ---- files.c: the context directory, and the files that a request brings ---- */

void name_context(const char *root, size_t root_length, const char *id, size_t id_length);
const char *context_path(void);
const char *context_id(void);
void context_root(char root[PATH_MAX]);
int context_descriptor(void);
bool make_context(void);
bool make_files(bool empty_body, bool body_file);
bool write_body(const uint8_t *bytes, size_t length);
bool take_file(const uint8_t *payload, uint32_t length);
bool secrets_were_given(void);
void close_request_files(void);
void close_context(void);
void close_fd(int *fd);

/* ---- variables.c: environment variables that a request brings ---- */

bool map_variables(void);
bool take_variable(const uint8_t *payload, uint32_t length, bool is_default);
bool set_variables(bool wipe);
void wipe_variables(void);

/* ---- logs.c: the function's stdout and stderr ---- */

enum { LOGS = 2 };
bool open_logs(void);
void adopt_logs(const int fds[LOGS], const int function_ends[LOGS]);
int log_fd(int which);
int log_function_end(int which);
void limit_logs(uint32_t bytes);
bool logs_may_flow(void);
bool read_log(int which);
bool drain_logs(void);
bool feed_tail(void);
uint64_t log_bytes_dropped(void);
void reset_logs(void);

/* ---- function.c: the function's process, from fork to exit ---- */

/* The end of the function. */
struct outcome {
  int status; /* as wait4() gives it */
  struct rusage usage;
  uint64_t wall_us;
};
void prepare_ahead(void);
int open_empty(void);
void start_function(void);
void release_function(void);
void terminate_function(void);
void kill_function(void);
void adopt_function(pid_t init, int go, int exec_errno);
void conclude(int status, const struct rusage *usage);
bool reap(void);
pid_t function_process(void);
void signal_all(int number);
void kill_all(void);
void kill_others(void);
bool alone(void);
const struct outcome *function_outcome(void);
uint32_t oom_kills_in_call(void);
void close_function(void);
void forget_function(void);

/* ---- contracts/stdio.c: the function's stdin, and its stdout as the answer ---- */

/* The length of a body that an empty piece ends, and the limit of a response that has none. */
#define UNKNOWN_LENGTH UINT32_MAX
#define NO_LIMIT UINT32_MAX
int open_input(int *function_end);
void adopt_input(int fd);
void begin_streams(uint32_t length);
bool take_input(const uint8_t *bytes, uint32_t length, uint32_t left);
void feed_input(void);
int waiting_input(void);
void close_input(void);
void send_credit(void);
bool take_credit(const uint8_t *payload, uint32_t length);
bool output_may_flow(void);
ssize_t read_output(int fd);
bool output_was_too_much(void);
void reset_streams(void);

/* ---- exec.c: the child's side of the fork ---- */

bool prepare_function(int input, int output, int error_output);
_Noreturn void become_function(int go, int exec_errno);

/* ---- answer.c: EXIT, and the files that the function leaves as its answer ---- */

void send_exit(void);
void feed_answer(void);
bool answer_is_left(void);
void close_answer(void);

/* ---- clear.c: removes what a function can leave behind ---- */

bool clear_directory(const char *path);
bool clear_ipc_objects(void);
bool holds_only(const char *path, const char *except);
void open_socket_lists(void);
void look_for_sockets(void);
bool sockets_may_be_left(void);
bool collect_sockets(void);

/* ---- kept.c: what has to be as it was before the first call ---- */

void open_proc_files(void);
bool remember(const char *context);
bool process_is_kept(void);
bool mounts_are_kept(void);
bool clear_mounts(void);

/* ---- reset.c: from an answer to the next READY ---- */

bool is_reusable(void);
bool reset_at_once(void);
void start_reset(void);
void finish_reset(void);
bool reset_must_wait(void);

#endif

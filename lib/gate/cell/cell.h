/*
 * Cells: a fresh container for each call, made by the gate inside its own.
 *
 * A cell has mount, PID, IPC and UTS namespaces of its own, a root that is an overlay on the image, and a fresh /proc and
 * /dev. Its first process (init.c) is a clone of the gate; the function is that one's child. When the first process ends,
 * everything in the cell ends.
 *
 *     options.c   the server's settings of the cells, on the gate's command line
 *     plan.c      which mounts a cell gets, by the mounts of the container: decided once
 *     mounts.c    makes them, in the cell's first process
 *     init.c      the cell's first process
 *     walls.c     what the function's process gives up before it becomes the command
 *     filter.c    its filter of system calls
 *     cell.c      the gate's side: makes cells, starts their functions, hears of their ends
 *     end.c       whether a cell has left anything in the network namespace
 *     probe.c     tries the walls of the first cell
 *
 * The gate is root, with CAP_SYS_ADMIN, and the function is hostile: after a cell's function has been started, nothing
 * follows a path into its cell. What is exchanged with it goes through descriptors that were opened before.
 */
#ifndef CELL_H
#define CELL_H

#include "../gate.h"

#include <linux/filter.h>
#include <sys/stat.h>

/* ---- options.c ---- */

/* The server's settings of the cells. */
struct cell_setting {
  bool wanted;
  uint64_t scratch;    /* bytes that a function can write to its root */
  const char *context; /* the context's root: a tmpfs, below whose mount point the cells are made */
  uid_t uid;           /* the function's user, and the groups besides the primary one */
  gid_t gid;
  gid_t *groups;
  int group_count;
  bool shares_network; /* with other containers, whose sockets cannot be told from ours */
  uint64_t dropped; /* the capabilities that it does not have, as bits */
  char **without;   /* mounts of the container that cells do not have */
  int without_count;
};
extern struct cell_setting cell_setting;
bool take_cell_option(char *word);

/* ---- plan.c ---- */

/* Something to do for a cell's root; `path` begins at that root. */
struct step {
  enum {
    FRESH,  /* mount a filesystem of its own */
    BIND,   /* show the container's mount */
    SHARE,  /* the same for a volume, whose directories others may be changing */
    TREE,   /* show it with all that is mounted below */
    LOCK,   /* make a mount that came along read-only */
    COVER,  /* bind a directory of a filesystem to itself, with other flags */
    COPY,   /* show a copy of a file */
    FOLDER, /* make a directory */
    NODE,   /* make a device node */
    LINK    /* make a symbolic link */
  } kind;
  char *path, *source, *type, *data;
  unsigned long flags;
  mode_t mode;
  dev_t device;
};

struct plan {
  struct step *steps;
  int count;
  char directory[PATH_MAX]; /* the working directory of the function */
  bool read_only; /* the root: then it is the container's own, and there is nothing to overlay */
  mode_t root_mode;
  uid_t root_uid;
  gid_t root_gid;
};
bool make_plan(struct plan *plan);
const char *plan_refusal(void);

/* ---- mounts.c ---- */

/* Descriptors of a cell's directories that the gate works with. */
enum { CONTEXT_ROOT, SECRETS_ROOT, PLACES };
const char *mount_cell(const struct plan *plan, int places[PLACES]);

/* ---- init.c ---- */

/* The ends of pipes and sockets that a cell is given. */
struct wiring {
  int link, go, exec_errno, output[LOGS];
  int input; /* -1 with a contract that has none */
};
_Noreturn void run_init(const struct plan *plan, struct wiring *wiring, bool probing);

/* A message from a cell. */
struct message {
  enum { MADE, BROKEN, ENDED } kind;
  int error;
  char where[64]; /* of BROKEN: what could not be done */
  int status;     /* of ENDED */
  struct rusage usage;
};
/* Orders to a cell's first process. */
enum { TERMINATE = 'T', KILL = 'K' };
bool tell(int link, const struct message *message, const int places[PLACES]);
bool hear(int link, struct message *message, int places[PLACES]);

/* ---- walls.c ---- */

/* Each returns what has failed, with errno, or NULL. */
const char *raise_walls(void);
void hold_sys_admin(bool held);
void close_all_but(const int *kept, int count);

/* ---- filter.c ---- */

struct sock_fprog filter_for(bool arm);
struct sock_fprog cell_filter(void);

/* ---- cell.c ---- */

/* The most cells that wait for their calls. */
enum { AHEAD = 2 };
const char *start_cells(void);
bool cells_are_on(void);
void make_next_cell(void);
void make_another_cell(void);
void make_beside_long_call(void);
bool take_next_cell(void);
int cell_place(int place);
int cell_link(int which);
void hear_cell(int which);
bool start_in_cell(const char *path);
void order_cell(uint8_t order);
void kill_cell(void);
bool cell_has_ended(void);
bool cell_died(pid_t pid);
void close_cell(void);
int cell_recheck_ms(void);

/* ---- end.c ---- */

/* The sockets of a cell that waits for its call: the two ends of its link. */
enum { CELL_SOCKETS = 2 };
bool note_sockets(bool shared);
void note_fewer_sockets(int own);
bool cell_left_sockets(int own);

/* ---- probe.c ---- */

const char *probe_walls(void);

#endif

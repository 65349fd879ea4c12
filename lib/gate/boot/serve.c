/*
 * The port at which an app finds its calls: it connects and asks for them. Each of its connections is a stream, which the
 * gate announces with ACCEPT.
 *
 * Owns the socket that listens, and the last number that it gave.
 */
#include "boot.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1;
static uint32_t last_number = UINT32_MAX; /* odd numbers are the gate's */

/* Listens on the loopback interface. Returns false, with errno, if that is impossible. */
bool listen_for_app(uint16_t port) {
  const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int on = 1;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) return false;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return bind(listener, (const struct sockaddr *)&at, sizeof at) == 0 && listen(listener, STREAMS_MOST) == 0;
}

/* Returns the descriptor to wait at for connections, or -1. */
int app_listener(void) { return phase() == RUNNING ? listener : -1; }

/* Takes the connections that are waiting. One for which there is no place is closed. */
void accept_app(void) {
  const int on = 1;
  for (int taken = 0; taken < STREAMS_MOST && payload_room(4) != NULL; taken++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    last_number += 2;
    if (!adopt_stream(last_number, fd)) {
      close(fd);
      continue;
    }
    uint8_t number[4];
    put(number, last_number, 4);
    send_control(ACCEPT, number, sizeof number);
  }
}

/*
 * Connections to the app: those of streams, and those that find out whether a port listens where the kernel does not tell.
 *
 * Owns no state.
 */
#include "boot.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The longest wait for a connection that only tries a port, in milliseconds: on the loopback interface it takes none. */
enum { TRY_MS = 10 };

/* Returns the address to connect to a listener: one that stands for all is replaced by the loopback interface's. */
static struct sockaddr_in6 address_of(const struct listener *listener) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(listener->port), .sin6_scope_id = listener->interface};
  memcpy(&to.sin6_addr, listener->address, sizeof listener->address);
  if (IN6_IS_ADDR_UNSPECIFIED(&to.sin6_addr)) {
    if (listener->only_v6) to.sin6_addr.s6_addr[15] = 1;
    else inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
  } else if (IN6_IS_ADDR_V4MAPPED(&to.sin6_addr) && memcmp(listener->address + 12, "\0\0\0\0", 4) == 0) {
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
  }
  return to;
}

/* Begins a connection. Returns its descriptor, which may not be connected yet, or -1. */
int dial(const struct listener *listener) {
  const struct sockaddr_in6 to6 = address_of(listener);
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&to6.sin6_addr);
  struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = to6.sin6_port};
  memcpy(&to4.sin_addr, to6.sin6_addr.s6_addr + 12, 4);
  const int on = 1;
  int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int result = v4 ? connect(fd, (const struct sockaddr *)&to4, sizeof to4) : connect(fd, (const struct sockaddr *)&to6, sizeof to6);
  if (result == 0 || errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool connects(const struct listener *listener) {
  int error = -1;
  socklen_t size = sizeof error;
  int fd = dial(listener);
  if (fd < 0) return false;
  struct pollfd wait = {.fd = fd, .events = POLLOUT};
  const bool connected = poll(&wait, 1, TRY_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  close(fd);
  return connected;
}

/* Returns whether a port accepts a connection, and where. The app sees one that says nothing. */
bool answers(uint16_t port, struct listener *found) {
  struct listener v4 = {.port = port}, v6 = {.port = port};
  inet_pton(AF_INET6, "::ffff:127.0.0.1", v4.address);
  v6.address[15] = 1;
  if (connects(&v4)) *found = v4;
  else if (connects(&v6)) *found = v6;
  else return false;
  return true;
}

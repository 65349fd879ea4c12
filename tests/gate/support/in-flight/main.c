/*
 * in-flight PORT FILE: leaves a listening TCP socket and a deleted file of 1 MiB in the queue of a unix socket that holds
 * itself, at the end of a chain of such queues. Exits with 1 if the port is taken, and with 2 if something else fails.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEPTH = 3 };

static int send_through(int through, const int *sent, size_t size) {
  char control[CMSG_SPACE(2 * sizeof *sent)] = {0};
  struct iovec text = {.iov_base = "x", .iov_len = 1};
  struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(size)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(header), sent, size);
  return sendmsg(through, &message, 0) == 1;
}

int main(int argc, char **argv) {
  int pair[2];
  if (argc != 3) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) return 1;
  if (listen(listener, 1) < 0) return 2;
  int file = open(argv[2], O_RDWR | O_CREAT | O_EXCL, 0600);
  static char bytes[1 << 20];
  if (file < 0 || write(file, bytes, sizeof bytes) != (ssize_t)sizeof bytes || unlink(argv[2]) < 0) return 2;
  int held[] = {listener, file};
  for (int depth = 0; depth < DEPTH; depth++) {
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0 || !send_through(pair[1], held, sizeof held)) return 2;
    held[0] = pair[0];
    held[1] = pair[1];
  }
  return send_through(pair[1], held, sizeof *held) ? 0 : 2;
}

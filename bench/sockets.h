// The few socket calls that bench_loadgen and bench_origin share. Errors end the program: a bench that lost a
// connection has nothing to say.
#pragma once

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace tulle::bench {

inline int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  std::exit(1);
}

inline sockaddr_in resolve(const char* host, const char* port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (int e = getaddrinfo(host, port, &hints, &found)) die(std::string(host) + ": " + gai_strerror(e));
  sockaddr_in address = *reinterpret_cast<sockaddr_in*>(found->ai_addr);
  freeaddrinfo(found);
  return address;
}

inline void no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

inline void make_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// A connected, blocking socket.
inline int dial(const sockaddr_in& to) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die(std::string("socket: ") + std::strerror(errno));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    die(std::string("connect: ") + std::strerror(errno));
  no_delay(fd);
  return fd;
}

inline void watch(int epoll, int fd, void* what, uint32_t events = EPOLLIN, int operation = EPOLL_CTL_ADD) {
  epoll_event event{.events = events, .data = {.ptr = what}};
  if (epoll_ctl(epoll, operation, fd, &event) != 0) die(std::string("epoll_ctl: ") + std::strerror(errno));
}

// Sends all of it; waits while the peer takes none.
inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) die(std::string("send: ") + std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// The next bytes; "" at the end. `buffer` must outlive the answer.
template <size_t N>
std::string_view receive_some(int fd, char (&buffer)[N]) {
  ssize_t n = recv(fd, buffer, N, 0);
  if (n < 0) die(std::string("recv: ") + std::strerror(errno));
  return {buffer, static_cast<size_t>(n)};
}

}  // namespace tulle::bench

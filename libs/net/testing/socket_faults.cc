// Sockets at their worst, for tests: linked into a test program, and with TULLE_TEST_FAULTS=SEED in its environment,
// this stands before the system calls of every Stream (the ones below TLS too) and makes reads and writes short, or
// EAGAIN, at random. Only what the kernel may do at any time: no byte is lost, and after each fault epoll is made to
// tell once more that the socket is ready, as it would. So a test that passes without must pass with it.
//
// Sockets that no reactor watches (a test's own raw ones), datagrams and MSG_PEEK are left alone.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace {

struct Watch {
  int epoll;
  epoll_event event;
};
// Of the whole program, as the calls that it stands before are.
struct Faults {
  std::mutex mutex;
  std::map<int, Watch> watched;
  bool on = false;  // from the start on, so that it may be read without the lock
  uint64_t state = 0;
  uint64_t made = 0;
  Faults() {
    const char* seed = std::getenv("TULLE_TEST_FAULTS");
    on = seed && *seed;
    if (on) state = std::strtoull(seed, nullptr, 10) * 2 + 1;
  }
  ~Faults() {
    if (on) std::fprintf(stderr, "%llu reads and writes were cut short\n", static_cast<unsigned long long>(made));
  }
  uint32_t random(uint32_t n) {  // splitmix64
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<uint32_t>((z ^ (z >> 31)) >> 33) % n;
  }
};
Faults& faults() {
  static Faults f;
  return f;
}

// How much of `size` bytes this call may move; 0: it would block. Where that is less than all, the edge is told again.
size_t allowed(int fd, size_t size) {
  Faults& f = faults();
  if (!f.on) return size;
  std::lock_guard lock(f.mutex);
  auto it = f.watched.find(fd);
  if (it == f.watched.end()) return size;
  size_t most = size;
  switch (f.random(8)) {
    case 0: most = 0; break;
    case 1:
    case 2: most = 1 + f.random(16); break;
    case 3:
    case 4: most = 1 + f.random(2000); break;
    default: break;
  }
  if (most >= size) return size;
  if (::syscall(SYS_epoll_ctl, it->second.epoll, EPOLL_CTL_MOD, fd, &it->second.event) != 0) {
    f.watched.erase(it);  // another socket by now
    return size;
  }
  ++f.made;
  return most;
}

}  // namespace

extern "C" {

ssize_t recv(int fd, void* data, size_t size, int flags) {
  size_t n = flags & MSG_PEEK ? size : allowed(fd, size);
  if (n == 0 && size > 0) return errno = EAGAIN, -1;
  return ::syscall(SYS_recvfrom, fd, data, n, flags, nullptr, nullptr);
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
  // So little always finds room in a socket that is not full; and who sends it may be about to close (an alert, say),
  // and tries once.
  constexpr size_t kSmall = 64;
  size_t n = size <= kSmall ? size : allowed(fd, size);
  if (n == 0 && size > 0) return errno = EAGAIN, -1;
  return ::syscall(SYS_sendto, fd, data, n, flags, nullptr, 0);
}

int epoll_ctl(int epoll, int op, int fd, epoll_event* event) noexcept {
  int done = static_cast<int>(::syscall(SYS_epoll_ctl, epoll, op, fd, event));
  Faults& f = faults();
  if (!f.on || done != 0) return done;
  std::lock_guard lock(f.mutex);
  int type = 0;
  socklen_t length = sizeof type;
  bool stream =
      op != EPOLL_CTL_DEL && ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
  if (stream) f.watched[fd] = Watch{epoll, *event};
  else f.watched.erase(fd);
  return done;
}
}

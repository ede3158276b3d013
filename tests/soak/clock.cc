// The machine's clock, moved: what programs of a soak are told by CLOCK_REALTIME is so many nanoseconds away from the
// truth as the eight bytes of the file TULLE_PROXY_SOAK_CLOCK say at that moment. Other clocks are left alone.
//
// Linked into a second tulle-proxy by the linker's --wrap (which is static: nothing can be preloaded), and preloaded
// into tulle-control as a shared object. No part of any program that users get.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

const volatile int64_t* shift() {
  static const volatile int64_t* at = [] {
    const char* path = getenv("TULLE_PROXY_SOAK_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* p = fd >= 0 ? mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0) close(fd);
    return p == MAP_FAILED ? nullptr : static_cast<const volatile int64_t*>(p);
  }();
  return at;
}

int moved(clockid_t id, timespec* t, int result) {
  if (id != CLOCK_REALTIME || result != 0 || !shift()) return result;
  int64_t nanos = t->tv_nsec + *shift() % 1'000'000'000;
  t->tv_sec += *shift() / 1'000'000'000 + (nanos < 0 ? -1 : nanos >= 1'000'000'000 ? 1 : 0);
  t->tv_nsec = (nanos + 1'000'000'000) % 1'000'000'000;
  return 0;
}

}  // namespace

#ifdef SOAK_WRAP
extern "C" int __real_clock_gettime(clockid_t, timespec*);
extern "C" int __wrap_clock_gettime(clockid_t id, timespec* t) { return moved(id, t, __real_clock_gettime(id, t)); }
#else
extern "C" int clock_gettime(clockid_t id, timespec* t) noexcept {
  return moved(id, t, static_cast<int>(syscall(SYS_clock_gettime, id, t)));
}
#endif

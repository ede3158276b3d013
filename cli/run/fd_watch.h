// Waiting for a file descriptor in a coroutine.
#pragma once

#include <poll.h>

#include "libs/rt/reactor.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::cli {

// Watches a descriptor that outlives it.
class FdWatch final : private rt::FdHandler {
 public:
  FdWatch(rt::Reactor& reactor, int fd) : reactor_(reactor), fd_(fd), signal_(reactor) {
    if (fd >= 0 && !reactor.watch(fd, *this)) fd_ = -1;
  }
  ~FdWatch() {
    if (fd_ >= 0) reactor_.forget(fd_, *this);
  }
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // Readable, or at its end.
  bool ready() const {
    pollfd p{fd_, POLLIN, 0};
    return fd_ >= 0 && ::poll(&p, 1, 0) > 0;
  }
  rt::Task<void> readable() {
    while (!ready()) co_await signal_.wait();
  }

 private:
  void on_ready(uint32_t) override { signal_.notify(); }

  rt::Reactor& reactor_;
  int fd_;
  rt::Signal signal_;
};

}  // namespace tulle::cli

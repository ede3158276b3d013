// When changes are told: at once after a quiet time, then at most every 20 ms, so that a burst of changes is told once.
// Belongs to one reactor.
#pragma once

#include "control/api/plane.h"
#include "libs/rt/reactor.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::control {

class Publisher final : private rt::Timer {
 public:
  // Both outlive this. `before`: runs before watchers are told (to write what must not be forgotten).
  Publisher(rt::Reactor& reactor, Plane& plane, std::function<void()> before);
  ~Publisher() { plane_.on_dirty = nullptr; }

  // Waits until all that has been applied until now was sent to the watchers; those who are slow to read are waited for
  // until `deadline` at most.
  rt::Task<void> published(TimePoint deadline);

  // Watchers that were told of a change and have not sent it yet.
  void add_behind() { ++behind_; }
  void end_behind() {
    if (--behind_ == 0) changed_.notify();
  }
  uint64_t count() const { return count_; }

 private:
  void on_timer() override;

  rt::Reactor& reactor_;
  Plane& plane_;
  std::function<void()> before_;
  rt::Signal changed_;
  TimePoint last_{};
  size_t behind_ = 0;
  bool dirty_ = false;
  uint64_t count_ = 0;
};

// Whether the workloads of an earlier run are back. Until then nothing is told to proxies: half a set of endpoints is
// worse than the last whole one, which they keep.
class Settling {
 public:
  explicit Settling(rt::Reactor& reactor) : changed_(reactor) {}
  bool done() const { return done_; }
  void finish() {
    done_ = true;
    changed_.notify();
  }
  rt::Task<void> wait() {
    while (!done_) co_await changed_.wait();
  }

 private:
  rt::Signal changed_;
  bool done_ = false;
};

}  // namespace tulle::control

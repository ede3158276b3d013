// Signal: lets coroutines of one reactor wait until something they look at has changed. It holds no state: wait in a
// loop, `while (!queue.full()) co_await signal.wait();` — nothing can be missed, for everything runs on one thread.
#pragma once

#include <coroutine>

#include "libs/base/list.h"
#include "libs/rt/reactor.h"

namespace tulle::rt {

class Signal {
 public:
  explicit Signal(Reactor& reactor) : reactor_(&reactor) {}

  class Wait;
  // Resumes at the next notify(). Cancelled by destroying the waiting coroutine.
  Wait wait();
  // The same, and at `deadline`: gives false when that came first.
  class WaitUntil;
  WaitUntil wait_until(TimePoint deadline);

  // Wakes all that wait, later in this turn.
  void notify();
  bool waited_for() const { return !const_cast<List<Node>&>(waiters_).empty(); }
  Reactor& reactor() const { return *reactor_; }

 private:
  struct Node : ListNode {
    Resume resume;
  };
  Reactor* reactor_;
  List<Node> waiters_;
};

class Signal::Wait {
 public:
  explicit Wait(Signal& s) : signal_(s) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    node_.resume.handle = h;
    signal_.waiters_.push_back(node_);
  }
  void await_resume() {}

 private:
  Signal& signal_;
  Node node_;
};

class Signal::WaitUntil final : public Timer {
 public:
  WaitUntil(Signal& s, TimePoint deadline) : Timer(s.reactor()), signal_(s), deadline_(deadline) {}
  bool await_ready() {
    timed_out_ = deadline_ <= signal_.reactor().now();
    return timed_out_;
  }
  void await_suspend(std::coroutine_handle<> h) {
    node_.resume.handle = h;
    signal_.waiters_.push_back(node_);
    arm(deadline_);
  }
  bool await_resume() {
    disarm();
    return !timed_out_;
  }
  void on_timer() override {
    if (!node_.linked()) return;  // notified earlier in this turn
    node_.unlink();
    timed_out_ = true;
    signal_.reactor().schedule(node_.resume);
  }

 private:
  Signal& signal_;
  TimePoint deadline_;
  Node node_;
  bool timed_out_ = false;
};

inline Signal::Wait Signal::wait() { return Wait(*this); }
inline Signal::WaitUntil Signal::wait_until(TimePoint deadline) { return WaitUntil(*this, deadline); }

inline void Signal::notify() {
  while (Node* n = waiters_.pop_front()) reactor_->schedule(n->resume);
}

}  // namespace tulle::rt

// The event loop of one thread: epoll, timers, a ready list and a list of things to flush at the end of the turn.
//
// One thread = one Reactor = one world. Everything that belongs to a reactor is touched only on its thread, but for
// post() and stop(). One turn is: wait → read the clock once → timers → readiness → ready list → flush list, until both
// lists are empty. So all that one turn wants to send on a connection leaves in one write.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "libs/base/fd.h"
#include "libs/base/list.h"
#include "libs/base/random.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::rt {

class Reactor;

// Something to run in this turn. Leaves the list by itself when destroyed.
class Runnable : public ListNode {
 public:
  virtual void run() = 0;

 protected:
  ~Runnable() = default;
};

// A coroutine to resume.
class Resume final : public Runnable {
 public:
  std::coroutine_handle<> handle;
  void run() override { handle.resume(); }
};

// Something to run at a moment. Disarms itself when destroyed. `on_timer` runs on the reactor's thread.
class Timer : public ListNode {
 public:
  explicit Timer(Reactor& reactor) : reactor_(reactor) {}
  // Replaces an earlier moment. kNever disarms. Resolution: 1 ms, never early.
  void arm(TimePoint when);
  void disarm() { unlink(); }
  bool armed() const { return linked(); }
  virtual void on_timer() = 0;

 protected:
  ~Timer() = default;

 private:
  friend class TimerWheel;
  Reactor& reactor_;
  uint64_t tick_ = 0;
};

// Told about readiness of a file descriptor (edge-triggered). Bits are EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP,
// EPOLLERR.
class FdHandler {
 public:
  virtual void on_ready(uint32_t events) = 0;

 protected:
  ~FdHandler() = default;
};

// Hashed wheel of four levels with 256 places each: 1 ms ticks, about 49 days; later moments wait in the last place.
class TimerWheel {
 public:
  explicit TimerWheel(TimePoint start);
  void arm(Timer& timer, TimePoint when);
  // Runs what is due at `now`.
  void advance(TimePoint now);
  // Milliseconds from `now` until something may be due; -1 when nothing is armed.
  int wait_ms(TimePoint now);

 private:
  static constexpr int kLevels = 4, kBits = 8, kPlaces = 1 << kBits;
  static constexpr uint64_t kNoTick = ~0ull;
  void place(Timer& timer);
  uint64_t tick_of(TimePoint t) const;
  uint64_t next_tick();

  TimePoint start_;
  uint64_t now_tick_ = 0;
  List<Timer> places_[kLevels][kPlaces];
  // A bit for each place that may hold a timer, so that looking for the next one, twice in each turn, touches four
  // cache lines and not 16 KiB. A timer that leaves does not tell: its bit is cleared when next looked at.
  uint64_t used_[kLevels][kPlaces / 64] = {};
};

class Reactor {
 public:
  // `seed` feeds rng(); 0 takes one from the kernel. `clock`: for tests, read in place of the system's; it outlives
  // this.
  explicit Reactor(uint64_t seed = 0, const TimePoint* clock = nullptr);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // The moment this turn began.
  TimePoint now() const { return now_; }
  Rng& rng() { return rng_; }

  // Runs turns until stop().
  void run();
  // Any thread.
  void stop();
  // One turn, waiting at most `max_wait`; for tests and for programs with a loop of their own.
  void turn(Duration max_wait);

  // Runs `r` in this turn (or the next, when called between turns). Already queued: no effect.
  void schedule(Runnable& r) {
    if (!r.linked()) ready_.push_back(r);
  }
  // Runs `r` when everything ready in this turn has run: where connections send what was collected.
  void at_turn_end(Runnable& r) {
    if (!r.linked()) flush_.push_back(r);
  }
  // Runs `f` on this reactor's thread. Any thread. What is still queued when the reactor ends is dropped unrun.
  void post(std::move_only_function<void()> f);

  // Watches fd for everything, edge-triggered, until forget(). `handler` must outlive that.
  Result<> watch(int fd, FdHandler& handler);
  // No event for fd is delivered after this, even one already collected in this turn.
  void forget(int fd, FdHandler& handler);

  // One block that readers on this thread share: what is read into it is valid until the reader suspends. Only what
  // large reads touch is resident.
  char* scratch();
  static constexpr size_t kScratch = 256 * 1024;
  // A second one, for what comes out of decryption.
  char* plain_scratch();
  static constexpr size_t kPlainScratch = 272 * 1024;

  TimerWheel& timers() { return timers_; }
  // The longest time one turn has held the loop since the last call, for the watchdog and metrics. Any thread.
  Duration take_longest_turn();

 private:
  TimePoint read_clock() const { return clock_ ? *clock_ : Clock::now(); }
  void run_lists();
  void run_posted();

  Fd epoll_;
  Fd wake_;
  const TimePoint* clock_;
  TimePoint now_;
  Rng rng_;
  TimerWheel timers_;
  List<Runnable> ready_;
  List<Runnable> flush_;
  std::vector<std::pair<uint32_t, FdHandler*>> events_;
  size_t event_at_ = 0;
  bool stopped_ = false;
  std::atomic<int64_t> longest_turn_{0};
  std::unique_ptr<char[]> scratch_;
  std::unique_ptr<char[]> plain_scratch_;

  std::mutex posted_mutex_;
  std::vector<std::move_only_function<void()>> posted_;
  bool wake_sent_ = false;
};

// co_await sleep_until(reactor, t): resumes at t. Cancelled by destroying the waiting coroutine.
class SleepUntil final : public Timer {
 public:
  SleepUntil(Reactor& r, TimePoint when) : Timer(r), reactor_(r), when_(when) {}
  bool await_ready() const { return when_ <= reactor_.now(); }
  void await_suspend(std::coroutine_handle<> h) {
    handle_ = h;
    arm(when_);
  }
  void await_resume() {}
  void on_timer() override { handle_.resume(); }

 private:
  Reactor& reactor_;
  TimePoint when_;
  std::coroutine_handle<> handle_;
};
inline SleepUntil sleep_until(Reactor& r, TimePoint t) { return SleepUntil(r, t); }
inline SleepUntil sleep_for(Reactor& r, Duration d) { return SleepUntil(r, r.now() + d); }

// co_await yield(reactor): lets everything else that is ready run first.
class Yield {
 public:
  explicit Yield(Reactor& r) : reactor_(r) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    resume_.handle = h;
    reactor_.schedule(resume_);
  }
  void await_resume() {}

 private:
  Reactor& reactor_;
  Resume resume_;
};
inline Yield yield(Reactor& r) { return Yield(r); }

}  // namespace tulle::rt

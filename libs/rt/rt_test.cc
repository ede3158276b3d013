#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <thread>
#include <vector>

#include "libs/rt/combine.h"
#include "libs/rt/reactor.h"
#include "libs/rt/scope.h"

namespace tulle::rt {
namespace {

Task<int> immediately(int n) { co_return n; }
Task<int> sum(int n) {
  int total = 0;
  for (int i = 0; i < n; ++i) total += co_await immediately(1);
  co_return total;
}
Task<void> store(int& out, Task<int> t) { out = co_await std::move(t); }
Task<void> append_after(Reactor& r, Duration d, std::vector<int>& out, int what) {
  co_await sleep_for(r, d);
  out.push_back(what);
}

void run_until(Reactor& r, auto done) {
  for (int i = 0; i < 10000 && !done(); ++i) r.turn(1ms);
}

TEST(Task, AMillionSynchronousAwaitsNeedNoStack) {
  Reactor r(1);
  int out = 0;
  Running running(r, store(out, sum(1'000'000)));
  r.turn(0ms);
  EXPECT_TRUE(running.done());
  EXPECT_EQ(out, 1'000'000);
}

TEST(Timer, FiresInOrderAndNeverEarly) {
  Reactor r(1);
  std::vector<int> order;
  Scope scope(r);
  TimePoint start = r.now();
  scope.spawn(append_after(r, 5ms, order, 2));
  scope.spawn(append_after(r, 2ms, order, 1));
  scope.spawn(append_after(r, 9ms, order, 3));
  run_until(r, [&] { return scope.size() == 0; });
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
  EXPECT_GE(Clock::now() - start, 9ms);
}

struct Record final : Timer {
  int fired = 0;
  using Timer::Timer;
  void on_timer() override { ++fired; }
};

TEST(TimerWheel, FarMomentsComeDownTheLevels) {
  Reactor r(1);
  TimePoint t0{};
  TimerWheel wheel(t0);
  for (int64_t ms : {1, 255, 256, 257, 65535, 65536, 70000, 300000}) {
    Record timer(r);
    TimerWheel w(t0);
    w.arm(timer, t0 + std::chrono::milliseconds(ms));
    int64_t step = std::max<int64_t>(1, ms / 50);
    for (int64_t at = 0; at < ms; at += step) {
      w.advance(t0 + std::chrono::milliseconds(std::min(at, ms - 1)));
      ASSERT_EQ(timer.fired, 0) << ms << " at " << at;
    }
    w.advance(t0 + std::chrono::milliseconds(ms));
    EXPECT_EQ(timer.fired, 1) << ms;
  }
}

TEST(TimerWheel, WaitIsNeverPastTheNextTimer) {
  Reactor r(1);
  TimePoint t0{};
  TimerWheel w(t0);
  EXPECT_EQ(w.wait_ms(t0), -1);
  Record timer(r);
  w.arm(timer, t0 + 700ms);
  TimePoint now = t0;
  int waits = 0;
  while (!timer.fired) {
    int ms = w.wait_ms(now);
    ASSERT_GE(ms, 0);
    now += std::chrono::milliseconds(std::max(ms, 1));
    ASSERT_LE(now, t0 + 700ms);
    w.advance(now);
    ASSERT_LT(++waits, 10);
  }
  EXPECT_EQ(now, t0 + 700ms);
}

TEST(TimerWheel, AgreesWithAPlainListUnderRandomUse) {
  Reactor r(1);
  Rng rng(7);
  TimePoint t0{};
  TimerWheel w(t0);
  std::deque<Record> timers;
  std::vector<int64_t> due;  // ms; -1: not armed
  for (int i = 0; i < 50; ++i) timers.emplace_back(r), due.push_back(-1);
  int64_t now = 0;
  for (int step = 0; step < 3000; ++step) {
    size_t i = rng.below(static_cast<uint32_t>(timers.size()));
    timers[i].disarm();
    due[i] = -1;
    if (rng.below(4)) {
      due[i] = now + 1 + static_cast<int64_t>(rng.below(1u << (4 + 4 * rng.below(6))));
      w.arm(timers[i], t0 + std::chrono::milliseconds(due[i]));
    }
    int64_t next = -1;
    for (int64_t d : due)
      if (d >= 0 && (next < 0 || d < next)) next = d;
    int wait = w.wait_ms(t0 + std::chrono::milliseconds(now));
    ASSERT_EQ(wait >= 0, next >= 0);
    if (next >= 0) ASSERT_LE(now + wait, next);
    now += static_cast<int64_t>(rng.below(3) ? static_cast<uint64_t>(std::max(wait, 0)) : rng.below(100'000));
    w.advance(t0 + std::chrono::milliseconds(now));
    for (size_t k = 0; k < timers.size(); ++k) {
      bool should = due[k] >= 0 && due[k] <= now;
      ASSERT_EQ(timers[k].fired, should ? 1 : 0) << "step " << step << " timer " << k;
      if (should) timers[k].fired = 0, due[k] = -1;
    }
  }
}

TEST(TimerWheel, AWeekOfNothingCostsNothing) {
  Reactor r(1);
  TimePoint t0{};
  TimerWheel w(t0);
  Record timer(r);
  w.arm(timer, t0 + 24h * 21);
  int turns = 0;
  TimePoint now = t0;
  while (!timer.fired) {
    now += std::chrono::milliseconds(w.wait_ms(now));
    w.advance(now);
    ASSERT_LT(++turns, 10);
  }
  EXPECT_EQ(now, t0 + 24h * 21);
}

TEST(Timer, DestroyedWaiterNeverFires) {
  Reactor r(1);
  std::vector<int> order;
  {
    Running running(r, append_after(r, 1ms, order, 1));
    r.turn(0ms);
  }
  TimePoint start = r.now();
  run_until(r, [&] { return r.now() > start + 5ms; });
  EXPECT_TRUE(order.empty());
}

Task<void> wait_for(Signal& s, bool& flag, int& out) {
  while (!flag) co_await s.wait();
  ++out;
}
Task<void> wait_at_most(Signal& s, TimePoint t, int& out) { out = co_await s.wait_until(t) ? 1 : 2; }

TEST(Signal, WakesAllAndTimesOut) {
  Reactor r(1);
  Signal s(r);
  Scope scope(r);
  bool flag = false;
  int woken = 0, in_time = 0, late = 0;
  scope.spawn(wait_for(s, flag, woken));
  scope.spawn(wait_for(s, flag, woken));
  scope.spawn(wait_at_most(s, r.now() + 10s, in_time));
  r.turn(0ms);
  s.notify();
  r.turn(0ms);
  EXPECT_EQ(woken, 0);
  EXPECT_EQ(in_time, 1);
  flag = true;
  s.notify();
  r.turn(0ms);
  EXPECT_EQ(woken, 2);
  scope.spawn(wait_at_most(s, r.now() + 2ms, late));
  run_until(r, [&] { return late != 0; });
  EXPECT_EQ(late, 2);
  EXPECT_EQ(scope.size(), 0u);
}

Task<Result<int>> never(Signal& s) {
  for (;;) co_await s.wait();
}
Task<Result<int>> at_once() { co_return 7; }
Task<void> deadline_case(Reactor& r, Task<Result<int>> t, Result<int>& out) {
  out = co_await with_deadline(r, r.now() + 2ms, "test", std::move(t));
}

TEST(WithDeadline, CancelsTheLateAndPassesTheTimely) {
  Reactor r(1);
  Signal s(r);
  Result<int> late = 0, timely = 0;
  Scope scope(r);
  scope.spawn(deadline_case(r, never(s), late));
  scope.spawn(deadline_case(r, at_once(), timely));
  run_until(r, [&] { return scope.size() == 0; });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kTimeout);
  EXPECT_EQ(timely, 7);
  EXPECT_FALSE(s.waited_for());
}

TEST(Reactor, PostFromAnotherThreadRunsHere) {
  Reactor r(1);
  std::thread::id ran;
  std::jthread other([&] {
    r.post([&] {
      ran = std::this_thread::get_id();
      r.stop();
    });
  });
  r.run();
  EXPECT_EQ(ran, std::this_thread::get_id());
}

struct Ready final : FdHandler {
  uint32_t events = 0;
  void on_ready(uint32_t e) override { events |= e; }
};

TEST(Reactor, ForgottenHandlerHearsNothing) {
  Reactor r(1);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  Fd a(pair[0]), b(pair[1]);
  Ready ready;
  ASSERT_TRUE(r.watch(a.get(), ready));
  ASSERT_EQ(send(b.get(), "x", 1, MSG_NOSIGNAL), 1);
  r.turn(100ms);
  EXPECT_NE(ready.events, 0u);
  ready.events = 0;
  r.forget(a.get(), ready);
  ASSERT_EQ(send(b.get(), "x", 1, MSG_NOSIGNAL), 1);
  r.turn(0ms);
  EXPECT_EQ(ready.events, 0u);
}

struct Order final : Runnable {
  std::vector<int>& out;
  int what;
  Order(std::vector<int>& o, int w) : out(o), what(w) {}
  void run() override { out.push_back(what); }
};

TEST(Reactor, FlushesAfterAllThatIsReady) {
  Reactor r(1);
  std::vector<int> out;
  Order flush(out, 9), one(out, 1), two(out, 2);
  r.at_turn_end(flush);
  r.schedule(one);
  r.schedule(two);
  r.schedule(one);
  r.turn(0ms);
  EXPECT_EQ(out, (std::vector{1, 2, 9}));
}

}  // namespace
}  // namespace tulle::rt

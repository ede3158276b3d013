// The timer wheel, with as many timers armed as a busy proxy has.
#include <benchmark/benchmark.h>

#include <deque>

#include "libs/rt/reactor.h"

namespace tulle::rt {
namespace {

struct Deadline final : Timer {
  using Timer::Timer;
  void on_timer() override {}
};

// A request's deadline is set and, long before it passes, taken back.
void arm_and_disarm(benchmark::State& state) {
  Reactor reactor(1);
  TimePoint start(1000s);
  TimerWheel wheel(start);
  std::deque<Deadline> others;
  for (int64_t n = 0; n < state.range(0); ++n) wheel.arm(others.emplace_back(reactor), start + 10s + n * 7ms);
  Deadline timer(reactor);
  for (auto _ : state) {
    wheel.arm(timer, start + 30s);
    timer.disarm();
  }
}
BENCHMARK(arm_and_disarm)->ArgName("others")->Arg(0)->Arg(10'000);

// What each turn of the loop does, with the clock a little further; nothing is due.
void turn(benchmark::State& state) {
  Reactor reactor(1);
  TimePoint now(1000s);
  TimerWheel wheel(now);
  Deadline timer(reactor);
  for (auto _ : state) {
    now += Duration(state.range(0) * 1000);
    wheel.arm(timer, now + 10s);
    wheel.advance(now);
    benchmark::DoNotOptimize(wheel.wait_ms(now));
  }
}
BENCHMARK(turn)->ArgName("us_passed")->Arg(20)->Arg(1000)->Arg(10'000);

}  // namespace
}  // namespace tulle::rt

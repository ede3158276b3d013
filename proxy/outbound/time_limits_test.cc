#include "proxy/outbound/time_limits.h"

#include <gtest/gtest.h>

namespace tulle::proxy::outbound {
namespace {

struct FakeClient final : httpio::ServerExchange {
  explicit FakeClient(rt::Reactor& r) : httpio::ServerExchange(r) {}
  void write(Buffer&&) override {}
  Result<> finish(const http::Headers*) override { return {}; }
  void reset(http::H2Code) override {}
  Result<> respond(http::ResponseHead&, bool) override { return {}; }
  void interim(const http::ResponseHead&) override {}
  void close_connection() override {}
  void consumed(size_t) override {}
  size_t unsent() const override { return 0; }
  bool flushing() override { return false; }
};
struct FakeUpstream final : httpio::ClientExchange {
  explicit FakeUpstream(rt::Reactor& r) : httpio::ClientExchange(r) {}
  void write(Buffer&&) override {}
  Result<> finish(const http::Headers*) override { return {}; }
  void reset(http::H2Code) override {}
  void consumed(size_t) override {}
  size_t unsent() const override { return 0; }
  bool flushing() override { return false; }
};

wire::Timeouts timeouts(std::optional<Duration> request, std::optional<Duration> response,
                        std::optional<Duration> idle) {
  return {response, request, idle};
}

struct Fixture {
  TimePoint clock{};
  rt::Reactor reactor{1, &clock};
  FakeClient client{reactor};
  FakeUpstream upstream{reactor};
  TimePoint start = reactor.now();
  TimeLimits limits{reactor, start};
  rt::Signal finish{reactor};
  bool over = false;
  std::optional<TimeLimits::Passed> passed;

  static rt::Task<void> work(Fixture& f) { co_await f.finish.wait(); }
  static rt::Task<void> watch(Fixture& f) {
    rt::Running working(f.reactor, work(f), &f.limits);
    f.passed = co_await f.limits.passed(f.client, working);
    f.over = true;
  }
  // Runs until the exchange is over, at most a minute of its time; `each` is called every turn, a millisecond apart.
  template <class F>
  Duration run(F each) {
    TimePoint from = reactor.now();
    rt::Running watching(reactor, watch(*this));
    for (TimePoint end = clock + 1min; !over && clock < end; clock += 1ms) {
      each();
      reactor.turn(0ms);
    }
    EXPECT_TRUE(over);
    return reactor.now() - from;
  }
  Duration run() {
    return run([] {});
  }
  std::string_view name() const { return passed ? passed->name : ""; }
};

TEST(TimeLimits, NoneWithoutATimeoutOrWithZero) {
  Fixture f;
  f.limits.set(timeouts(0s, 0s, {}));
  f.limits.set_attempt(0s);
  EXPECT_TRUE(f.limits.none());
  f.limits.set_attempt(1s);
  EXPECT_FALSE(f.limits.none());
}

TEST(TimeLimits, AnExchangeThatEndsInTime) {
  Fixture f;
  f.limits.set(timeouts(10s, 10s, 10s));
  int turns = 0;
  f.run([&] {
    if (++turns == 3) f.finish.notify();
  });
  EXPECT_EQ(f.name(), "");
}

TEST(TimeLimits, TheEarliestCounts) {
  Fixture f;
  f.limits.set(timeouts(10s, {}, {}));
  f.limits.attempt(f.start, 20ms);
  EXPECT_EQ(f.run(), 20ms);
  EXPECT_EQ(f.passed->what, "backend request timeout");
  EXPECT_EQ(f.passed->limit, 20ms);

  Fixture g;
  g.limits.set(timeouts(20ms, {}, {}));
  g.limits.attempt(g.start, 10s);
  EXPECT_EQ(g.run(), 20ms);
  EXPECT_EQ(g.name(), "REQUEST_TIMEOUT");
}

TEST(TimeLimits, TheResponseTimeoutBeginsWhenTheRequestHasBeenSent) {
  Fixture f;
  f.limits.set(timeouts({}, 30ms, {}));
  f.limits.sent_to(f.upstream);
  TimePoint ended = kNever;
  f.run([&] {
    if (ended == kNever && f.reactor.now() - f.start >= 60ms) {
      f.client.end(nullptr);
      ended = f.reactor.now();
    }
  });
  EXPECT_EQ(f.name(), "RESPONSE_STREAM_TIMEOUT");
  EXPECT_GE(f.reactor.now() - ended, 30ms);
}

TEST(TimeLimits, BytesEitherWayAreNotIdle) {
  Fixture f;
  f.limits.set(timeouts({}, {}, 40ms));
  f.limits.sent_to(f.upstream);
  TimePoint last = f.start;
  int pushed = 0;
  f.run([&] {
    if (pushed == 8 || f.reactor.now() - last < 15ms) return;
    last = f.reactor.now();
    if (++pushed % 2 == 0) f.client.push("x");
    else f.upstream.push("x");
  });
  EXPECT_EQ(f.name(), "IDLE_TIMEOUT");
  EXPECT_EQ(pushed, 8);
  EXPECT_GE(f.reactor.now() - last, 40ms);
}

TEST(TimeLimits, OfATunnelOnlyIdleCounts) {
  Fixture f;
  f.limits.set(timeouts(10ms, 10ms, 50ms));
  f.limits.attempt(f.start, 10ms);
  f.limits.tunnel();
  EXPECT_EQ(f.run(), 50ms);
  EXPECT_EQ(f.name(), "IDLE_TIMEOUT");
}

}  // namespace
}  // namespace tulle::proxy::outbound
